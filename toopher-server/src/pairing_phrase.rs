//! Pairing phrases: the words that a phone shows and that a user types at the site.

const ADJECTIVES: [&str; 64] = [
    "able", "amber", "awkward", "bold", "brave", "brief", "bright", "calm", "cheerful", "clever", "cozy", "curious",
    "daring", "early", "easy", "fancy", "fast", "fluffy", "fresh", "friendly", "gentle", "giant", "glad", "golden",
    "grand", "happy", "honest", "jolly", "keen", "kind", "late", "lazy", "little", "lively", "lucky", "merry",
    "mighty", "modest", "neat", "noble", "odd", "patient", "plain", "polite", "proud", "quick", "quiet", "rapid",
    "rare", "round", "shiny", "silent", "silver", "simple", "sleepy", "smooth", "steady", "sunny", "swift", "tidy",
    "tiny", "warm", "wild", "wise",
];
const NOUNS: [&str; 64] = [
    "acorn", "anchor", "apple", "badger", "bakery", "basket", "beacon", "beaver", "bridge", "button", "candle",
    "canyon", "castle", "cello", "cherry", "cloud", "comet", "copper", "cricket", "dolphin", "dragon", "ember",
    "falcon", "feather", "forest", "fountain", "garden", "glacier", "guitar", "hammer", "harbor", "hedgehog", "island",
    "jacket", "kettle", "kitten", "ladder", "lantern", "lemon", "lobster", "magnet", "meadow", "mirror", "mountain",
    "otter", "paddle", "parrot", "pebble", "pencil", "penguin", "pepper", "pigeon", "planet", "pocket", "rabbit",
    "river", "rocket", "saddle", "thunder", "ticket", "turtle", "violin", "walnut", "window",
];

/// Generates a phrase of four words. There are 16.7 million phrases.
pub(crate) fn generate() -> Result<String, getrandom::Error> {
    let mut random = [0; 4];
    getrandom::fill(&mut random)?;
    let pick = |words: [&'static str; 64], at: usize| words[usize::from(random[at] % 64)];
    Ok([pick(ADJECTIVES, 0), pick(NOUNS, 1), pick(ADJECTIVES, 2), pick(NOUNS, 3)].join(" "))
}

/// Converts a phrase to the form that is compared: lower case, and single spaces.
pub(crate) fn normalize(phrase: &str) -> String {
    phrase.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}
