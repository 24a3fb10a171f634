//! Formats numbers in sentences as the page does (`assets/format.js`): separated thousands, and no line break between a
//! number and its unit.

/// Narrow no-break space, between groups of three digits.
const THIN: char = '\u{202f}';
/// No-break space, between a number and its unit.
const NBSP: char = '\u{a0}';

/// Formats a whole number with separated thousands.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// Formats per cent.
pub fn percent(value: u64) -> String {
    format!("{value}{NBSP}%")
}

/// Formats a part of a whole in per cent, rounded down; 0 if the whole is 0.
pub fn percent_of(part: u64, whole: u64) -> String {
    percent((part.min(whole).saturating_mul(100)).checked_div(whole).unwrap_or(0))
}

/// Formats a duration in one unit, rounded down.
pub fn duration(seconds: u32) -> String {
    let (value, unit) = match seconds {
        0..=119 => (seconds, "s"),
        120..=7_199 => (seconds / 60, "min"),
        7_200..=172_799 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{}{NBSP}{unit}", count(value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_down_in_one_unit() {
        for (seconds, text) in [
            (0, "0\u{a0}s"),
            (119, "119\u{a0}s"),
            (120, "2\u{a0}min"),
            (7_199, "119\u{a0}min"),
            (7_200, "2\u{a0}h"),
            (172_800, "2\u{a0}days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn thousands_are_separated() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (17_280, "17\u{202f}280"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn parts_are_rounded_down_and_at_most_100_percent() {
        for (part, whole, text) in
            [(0, 0, "0\u{a0}%"), (2, 3, "66\u{a0}%"), (999, 1_000, "99\u{a0}%"), (5, 3, "100\u{a0}%")]
        {
            assert_eq!(percent_of(part, whole), text);
        }
    }
}
