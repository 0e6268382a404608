//! Any bytes as an OTP: parsing returns an error or one canonical spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_toopher::Otp;

fuzz_target!(|spelling: &[u8]| {
    if let Ok(otp) = Otp::parse(spelling) {
        let text = otp.as_str();
        assert!(matches!(text.len(), 6..=8 | 16) && text.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(Otp::parse(text.as_bytes()).is_ok_and(|reparsed| reparsed == otp));
        let digits: String = String::from_utf8_lossy(spelling).chars().filter(char::is_ascii_digit).collect();
        assert!(text.len() == 16 || text == digits);
    }
});
