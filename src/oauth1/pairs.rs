/// Names and values, decoded, all in one text: a request has many of them, and none outlives the others.
#[derive(Default)]
pub(super) struct Pairs {
    text: String,
    /// Where each name, and each value, ends.
    ends: Vec<(usize, usize)>,
}

impl Pairs {
    /// With room for what is decoded from so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(8) }
    }

    pub(super) fn of_form(encoded: &[u8]) -> Self {
        let mut pairs = Self::with_capacity(encoded.len());
        form_urlencoded::parse(encoded).for_each(|(name, value)| pairs.push(&name, &value));
        pairs
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_ends = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_ends, self.text.len()));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name, value)| {
            let pair = (&self.text[start..name], &self.text[name..value]);
            start = value;
            pair
        })
    }
}
