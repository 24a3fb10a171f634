//! Strangers' text made fit for logs and status pages.

/// The text without characters that could forge or hide a line, in at most `len_max` bytes.
pub fn label(text: &str, len_max: usize) -> String {
    let mut label = String::with_capacity(text.len().min(len_max));
    for character in text.chars() {
        let character = if is_deceptive(character) { '?' } else { character };
        if label.len() + character.len_utf8() > len_max {
            break;
        }
        label.push(character);
    }
    label
}

/// Control characters, and those that change the direction of text or have no width.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceptive_characters_go_and_length_is_kept() {
        assert_eq!(label("garage.α-1", 128), "garage.α-1");
        assert_eq!(label("a\n2026 INFO fake\u{1b}[2J\u{202e}b", 128), "a?2026 INFO fake?[2J?b");
        assert_eq!(label("ααα", 5), "αα", "cut between characters");
        assert_eq!(label(&"x".repeat(1000), 128).len(), 128);
    }
}
