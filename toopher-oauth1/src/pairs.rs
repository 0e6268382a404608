//! Lists of parameters.

/// Decoded names and values, in one allocation for all of them.
#[derive(Default)]
pub(crate) struct Pairs {
    text: String,
    /// The end of each name, and of its value.
    ends: Vec<(usize, usize)>,
}

impl Pairs {
    /// With the capacity for the pairs of an encoded text of this length.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(8) }
    }

    pub(crate) fn from_form(encoded: &[u8]) -> Self {
        let mut pairs = Self::with_capacity(encoded.len());
        form_urlencoded::parse(encoded).for_each(|(name, value)| pairs.push(&name, &value));
        pairs
    }

    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let end_of_name = self.text.len();
        self.text.push_str(value);
        self.ends.push((end_of_name, self.text.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name, value)| {
            let pair = (&self.text[start..name], &self.text[name..value]);
            start = value;
            pair
        })
    }
}
