//! Sanitises text from miners for logs and status pages.

/// Trims the text, replaces characters that could forge or hide text, and truncates it to `len_max` bytes.
///
/// The result is visible or empty.
pub fn sanitized_label(text: &str, len_max: usize) -> String {
    let mut label = String::with_capacity(text.len().min(len_max));
    for character in text.trim().chars() {
        let character = if is_deceptive(character) { '?' } else { character };
        if label.len() + character.len_utf8() > len_max {
            break;
        }
        label.push(character);
    }
    label.truncate(label.trim_end().len());
    label
}

/// A worker's name for log lines; a miner may authorize with an empty name.
pub fn display_name(worker: &str) -> &str {
    match worker {
        "" => "(no name)",
        name => name,
    }
}

/// Whether a character is a control character, changes the text direction, has no width, or is blank but not white space.
fn is_deceptive(character: char) -> bool {
    let (directions, no_width, blank) = (
        matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'),
        matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'),
        matches!(character, '\u{115f}'..='\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'),
    );
    character.is_control() || directions || no_width || blank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceptive_characters_are_replaced_and_the_length_is_bounded() {
        assert_eq!(sanitized_label("garage.α-1", 128), "garage.α-1");
        assert_eq!(sanitized_label("a\n2026 INFO fake\u{1b}[2J\u{202e}b", 128), "a?2026 INFO fake?[2J?b");
        assert_eq!(sanitized_label("ααα", 5), "αα", "cut between characters");
        assert_eq!(sanitized_label(&"x".repeat(1000), 128).len(), 128);
        assert_eq!(sanitized_label("rig 7 \u{1f40b} 矿机", 128), "rig 7 \u{1f40b} 矿机");
    }

    #[test]
    fn a_label_can_be_seen_or_is_empty() {
        for nothing in ["", " ", "\t \n", "\u{a0}\u{3000}\u{2003}"] {
            assert_eq!(sanitized_label(nothing, 128), "");
        }
        assert_eq!((sanitized_label("  a b\u{3000}", 128), sanitized_label("a  b", 2)), ("a b".into(), "a".into()));
        for blank in
            ['\u{ad}', '\u{61c}', '\u{115f}', '\u{180e}', '\u{200b}', '\u{2800}', '\u{3164}', '\u{fe0f}', '\u{e0041}']
        {
            assert_eq!(sanitized_label(&blank.to_string(), 128), "?", "{blank:?}");
        }
        assert_eq!((display_name(""), display_name("w")), ("(no name)", "w"));
    }
}
