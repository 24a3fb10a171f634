//! The API's documents as text for people.

use serde_json::Value;

use crate::args::Question;
use crate::status_line::hash_rate;

/// Satoshis of a bitcoin.
const SATS_PER_BTC: f64 = 1e8;
/// Stands for a value that is not known.
const NONE: &str = "-";

/// Returns a document as text.
pub fn text(question: Question, document: &Value) -> String {
    match question {
        Question::Health => health(document),
        Question::Status => status(document),
        Question::Miners => miners(document),
        Question::Peers => peers(document),
        Question::Bans => bans(document),
        Question::Shares => shares(document),
        Question::Payouts => payouts(document),
        Question::Blocks => blocks(document),
    }
}

fn health(document: &Value) -> String {
    if document["healthy"] == true {
        return "healthy\n".to_owned();
    }
    let reasons = list(&document["reasons"]);
    let line = |reason: &Value| string(reason) + "\n";
    "not healthy\n".to_owned() + &reasons.iter().map(line).collect::<String>()
}

fn status(document: &Value) -> String {
    let seconds = |key: &str| number(&document[key]).map_or(NONE.to_owned(), duration);
    let payout = format!(
        "{} ({} if another node finds it)",
        btc(&document["our_payout"]),
        btc(&document["our_payout_without_fee"])
    );
    let mut text = aligned(&[
        vec!["state".to_owned(), string(&document["state"]["text"])],
        vec!["version".to_owned(), format!("{}, up for {}", string(&document["version"]), seconds("uptime_secs"))],
        vec!["chain".to_owned(), format!("{} on {}", string(&document["chain_name"]), string(&document["network"]))],
        vec!["share height".to_owned(), string(&document["sharechain_height"])],
        vec!["pool".to_owned(), rate(&document["pool_hashrate"])],
        vec![
            "miners".to_owned(),
            format!("{}, {}", string(&document["miner_count"]), rate(&document["local_hashrate"])),
        ],
        vec![
            "submits".to_owned(),
            format!(
                "{} accepted, {} rejected",
                string(&document["shares_accepted"]),
                string(&document["shares_rejected"])
            ),
        ],
        vec!["peers".to_owned(), string(&document["peer_count"])],
        vec![
            "template".to_owned(),
            format!("height {}, {} old", string(&document["block_height"]), seconds("template_age_secs")),
        ],
        vec!["next block".to_owned(), format!("on average in {}", seconds("est_time_to_block"))],
        vec!["payout then".to_owned(), payout],
        vec!["blocks found".to_owned(), string(&document["blocks_found"])],
        vec!["address".to_owned(), string(&document["our_address"])],
    ]);
    for problem in list(&document["problems"]) {
        text += &format!(
            "\n{}: {}\n  {}\n",
            string(&problem["level"]),
            string(&problem["text"]),
            string(&problem["advice"])
        );
    }
    text
}

fn miners(document: &Value) -> String {
    let mut rows =
        vec![heads(&["worker", "hash rate", "difficulty", "accepted", "rejected", "last share", "firmware", ""])];
    let now = number(&document["time"]).unwrap_or(0.0);
    let ago = |time: &Value| {
        number(time).filter(|time| *time > 0.0).map_or(NONE.to_owned(), |time| duration(now - time) + " ago")
    };
    for miner in list(&document["miners"]) {
        let trouble = if miner["needs_attention"] == true { "needs attention" } else { "" };
        rows.push(vec![
            string(&miner["worker"]),
            rate(&miner["hashrate"]),
            string(&miner["difficulty"]),
            string(&miner["shares"]),
            string(&miner["rejected"]),
            ago(&miner["last_share_time"]),
            string(&miner["user_agent"]),
            trouble.to_owned(),
        ]);
    }
    for gone in list(&document["gone"]) {
        let (worker, agent) = (string(&gone["worker"]), string(&gone["user_agent"]));
        let seen = format!("gone for {}", number(&gone["gone_secs"]).map_or(NONE.to_owned(), duration));
        rows.push(vec![
            worker,
            rate(&gone["hashrate"]),
            NONE.into(),
            NONE.into(),
            NONE.into(),
            ago(&gone["last_share_time"]),
            agent,
            seen,
        ]);
    }
    aligned(&rows)
}

fn peers(document: &Value) -> String {
    let mut rows = vec![heads(&["address", "direction", "latency", "connected", "software", "peer id"])];
    for peer in list(&document["peers"]) {
        let latency =
            number(&peer["latency_us"]).map_or(NONE.to_owned(), |micros| format!("{:.1} ms", micros / 1_000.0));
        rows.push(vec![
            string(&peer["address"]),
            string(&peer["direction"]),
            latency,
            number(&peer["connected_secs"]).map_or(NONE.to_owned(), duration),
            string(&peer["agent"]),
            string(&peer["id"]),
        ]);
    }
    aligned(&rows)
}

fn bans(document: &Value) -> String {
    let mut rows = vec![heads(&["peer or address", "state", "ends in", "reason"])];
    for ban in list(&document["bans"]) {
        let ends = number(&ban["remaining_secs"]).map_or(NONE.to_owned(), duration);
        rows.push(vec![string(&ban["subject"]), string(&ban["state"]), ends, string(&ban["reason"])]);
    }
    aligned(&rows)
}

fn shares(document: &Value) -> String {
    let table = |shares: &Value| {
        let mut rows = vec![heads(&["height", "age", "state", "difficulty", "miner", "share", ""])];
        for share in list(shares) {
            let block = if share["is_block"] == true { "Bitcoin block" } else { "" };
            rows.push(vec![
                string(&share["share_height"]),
                number(&share["age_secs"]).map_or(NONE.to_owned(), duration),
                string(&share["state"]),
                number(&share["share_difficulty"]).map_or(NONE.to_owned(), difficulty),
                if share["ours"] == true { "this node".to_owned() } else { string(&share["miner"]) },
                string(&share["hash"]),
                block.to_owned(),
            ]);
        }
        aligned(&rows)
    };
    let (count, own) = (string(&document["count"]), string(&document["own_count"]));
    let own_shares = if list(&document["own"]).is_empty() { String::new() } else { table(&document["own"]) };
    format!("{count} shares, the latest:\n{}\n{own} of this node\n{own_shares}", table(&document["shares"]))
}

fn payouts(document: &Value) -> String {
    let mut rows = vec![heads(&["address", "payout", "per cent", ""])];
    for entry in list(&document["payout_entries"]) {
        let own = if entry["address"] == document["our_address"] { "this node" } else { "" };
        let part = number(&entry["pct"]).map_or(NONE.to_owned(), |part| format!("{part:.2}"));
        rows.push(vec![string(&entry["address"]), btc(&entry["amount"]), part, own.to_owned()]);
    }
    aligned(&rows)
}

fn blocks(document: &Value) -> String {
    let mut rows = vec![heads(&["height", "status", "confirmations", "coinbase", "finder", "hash", "reason"])];
    for block in list(&document["blocks"]) {
        let finder = if block["ours"] == true { "this node".to_owned() } else { string(&block["miner"]) };
        rows.push(vec![
            string(&block["height"]),
            string(&block["status"]),
            string(&block["confirmations"]),
            btc(&block["value"]),
            finder,
            string(&block["hash"]),
            string(&block["reason"]),
        ]);
    }
    aligned(&rows)
}

fn heads(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

/// Returns a difficulty. Those of test networks are far below one.
fn difficulty(value: f64) -> String {
    match value < 0.001 {
        true => format!("{value:.2e}"),
        false => format!("{value:.3}"),
    }
}

/// Returns a text or number on one line; what miners and peers say of themselves may have any characters.
fn string(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::String(text) if text.is_empty() => NONE.to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        other => other.to_string(),
    }
}

fn rate(value: &Value) -> String {
    number(value).map_or(NONE.to_owned(), hash_rate)
}

fn btc(value: &Value) -> String {
    number(value).map_or(NONE.to_owned(), |sats| format!("{:.8} BTC", sats / SATS_PER_BTC))
}

/// Formats seconds in one unit, rounded down.
fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds < 120.0 => (seconds, "s"),
        seconds if seconds < 7_200.0 => (seconds / 60.0, "min"),
        seconds if seconds < 172_800.0 => (seconds / 3_600.0, "h"),
        seconds if seconds < 2.0 * 365.25 * 86_400.0 => (seconds / 86_400.0, "days"),
        seconds => (seconds / (365.25 * 86_400.0), "years"),
    };
    format!("{:.0} {unit}", value.max(0.0).floor())
}

/// Returns rows as lines whose columns are aligned.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_replaced() {
        let document = json!({ "time": 1_000, "miners": [
            { "worker": "garage\u{1b}[2J", "hashrate": 1.2e12, "difficulty": 1_000.0, "shares": 5, "rejected": 1,
              "last_share_time": 990, "user_agent": "bitaxe", "needs_attention": false },
            { "worker": "b", "hashrate": 5e5, "difficulty": 1, "shares": 0, "rejected": 0, "last_share_time": null,
              "user_agent": "", "needs_attention": true } ],
            "gone": [{ "worker": "c", "user_agent": "x", "hashrate": 1.0, "last_share_time": 400, "gone_secs": 600 }] });
        assert_eq!(
            text(Question::Miners, &document),
            "worker      hash rate  difficulty  accepted  rejected  last share  firmware\n\
             garage\u{fffd}[2J  1.20 TH/s  1000.0      5         1         10 s ago    bitaxe\n\
             b           500 kH/s   1           0         0         -           -         needs attention\n\
             c           1 H/s      -           -         -         10 min ago  x         gone for 10 min\n"
        );
    }

    #[test]
    fn bans_have_their_end_and_reason() {
        let document = json!({ "banned": 1, "bans": [
            { "subject": "203.0.113.7", "state": "banned", "reason": "sent\nspam", "until": 9, "remaining_secs": 86_300 },
            { "subject": "2001:db8::/64", "state": "graylisted", "reason": "ban score 60", "until": 9, "remaining_secs": 330 } ] });
        assert_eq!(
            text(Question::Bans, &document),
            "peer or address  state       ends in  reason\n\
             203.0.113.7      banned      23 h     sent\u{fffd}spam\n\
             2001:db8::/64    graylisted  5 min    ban score 60\n"
        );
    }

    #[test]
    fn durations_have_one_unit() {
        for (seconds, text) in
            [(-1.0, "0 s"), (119.9, "119 s"), (120.0, "2 min"), (172_800.0, "2 days"), (6e8, "19 years")]
        {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn bitcoins_have_all_digits() {
        assert_eq!(btc(&json!(312_500_001)), "3.12500001 BTC");
        assert_eq!(btc(&Value::Null), NONE);
    }

    #[test]
    fn an_unhealthy_node_says_why() {
        assert_eq!(text(Question::Health, &json!({ "healthy": true, "reasons": [] })), "healthy\n");
        let document = json!({ "healthy": false, "reasons": ["No block template from bitcoind yet."] });
        assert_eq!(text(Question::Health, &document), "not healthy\nNo block template from bitcoind yet.\n");
    }

    #[test]
    fn difficulties_show_three_digits_at_least() {
        assert_eq!([123_456.789_01, 0.25, 0.000_000_020_2].map(difficulty), ["123456.789", "0.250", "2.02e-8"]);
    }
}
