//! The methods that set up a session.

use std::borrow::Cow;
use std::collections::HashMap;

use bitcoin::hex::FromHex as _;
use serde_json::value::RawValue;
use serde_json::{json, Map, Value};

use super::{Session, Step};
use crate::share::{EXTRANONCE1_LEN, EXTRANONCE2_LEN};
use crate::stratum::difficulty::Difficulty;
use crate::stratum::label::sanitized_label;
use crate::stratum::limits::LABEL_LEN_MAX;
use crate::stratum::reject::Reject;
use crate::stratum::reply;
use crate::stratum::request::{array, elements, hex_u32, number, optional_string, string, WrongType};
use crate::stratum::user_agents::firmware_for;
use crate::stratum::user_name::NamedAddress;

/// Version bits that miners may roll: 13 to 28 (BIP-0310, BIP-0320).
pub const VERSION_MASK: u32 = 0x1fff_e000;
/// Largest number of extensions processed in a `mining.configure`; there are four.
const EXTENSIONS_MAX: usize = 32;

type Options<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl Session {
    /// `mining.configure` (BIP-0310): configures extensions, and responds whether each is supported.
    pub(super) fn configure(&mut self, id: &str, params: &str, step: &mut Step<'_>) {
        let params = elements(params);
        let names = params.first().map(|names| elements(names.get())).unwrap_or_default();
        if names.is_empty() {
            return reply::error(step.out, id, Reject::Malformed("configure needs a list of extensions"));
        }
        let options: Options<'_> =
            params.get(1).and_then(|options| serde_json::from_str(options.get()).ok()).unwrap_or_default();
        let mut result = Map::new();
        for name in names.iter().take(EXTENSIONS_MAX).filter_map(|name| string(Some(name))) {
            self.configure_one(&name, &options, &mut result);
        }
        reply::result(step.out, id, &Value::Object(result).to_string());
        self.difficulty.await_job_if_changed();
    }

    fn configure_one(&mut self, name: &str, options: &Options<'_>, result: &mut Map<String, Value>) {
        let is_on = match name {
            "version-rolling" => {
                let mask = VERSION_MASK & requested_mask(options);
                self.version_rolling.negotiate(mask, self.jobs_seen);
                if mask != 0 {
                    result.insert("version-rolling.mask".into(), format!("{mask:08x}").into());
                }
                mask != 0
            }
            "minimum-difficulty" => match requested_floor(options) {
                Some(floor) => {
                    self.difficulty.set_floor(floor);
                    true
                }
                None => false,
            },
            "subscribe-extranonce" | "info" => true,
            _ => false,
        };
        result.insert(name.to_owned(), is_on.into());
    }

    /// `mining.subscribe`: `[user agent, id of the session to resume]`.
    pub(super) fn subscribe(&mut self, id: &str, params: &str, step: &mut Step<'_>) {
        let Ok([user_agent, resumed]) = subscribe_params(params) else {
            return reply::error(step.out, id, Reject::Malformed("subscribe takes a user agent and a session id"));
        };
        if let Some(user_agent) = user_agent {
            self.user_agent = sanitized_label(&user_agent, LABEL_LEN_MAX).into();
            self.firmware = firmware_for(&self.user_agent);
            self.difficulty.set_firmware_range(self.firmware.difficulties);
            if let Some(difficulty) = self.firmware.start_difficulty.filter(|_| !self.is_working) {
                self.difficulty.suggest_at_most(difficulty, step.now.steady);
            }
        }
        let extranonce1 = *self.extranonce1.get_or_insert_with(|| {
            let resumed = resumed.and_then(|session| <[u8; EXTRANONCE1_LEN]>::from_hex(&session).ok());
            match resumed.filter(|extranonce1| step.shared.extranonces.resume(*extranonce1)) {
                Some(extranonce1) => extranonce1,
                None => step.shared.extranonces.allocate(),
            }
        });
        // The extranonce is the session id: a miner that sends it later gets the same search space again.
        let session = format!("{:08x}", u32::from_be_bytes(extranonce1));
        let result =
            json!([[["mining.set_difficulty", session], ["mining.notify", session]], session, EXTRANONCE2_LEN]);
        reply::result(step.out, id, &result.to_string());
        self.start(step);
    }

    /// `mining.authorize`: `[worker, password]`. Every miner is accepted; the worker's name is only a label.
    pub(super) fn authorize(&mut self, id: &str, params: &str, step: &mut Step<'_>) {
        let params = elements(params);
        let Some(worker) = string(params.first()) else {
            return reply::error(step.out, id, Reject::Malformed("authorize needs a worker name"));
        };
        let payee = step.shared.payee.as_ref();
        let named_address = payee.map_or(NamedAddress::None, |payee| payee.named_address(&worker));
        let Ok(is_new) = self.workers.authorize(&worker, named_address, step.now.steady) else {
            return reply::error(step.out, id, Reject::Malformed("too many workers on one connection"));
        };
        if let Some(difficulty) = string(params.get(1)).and_then(|password| fixed_difficulty(&password)) {
            self.difficulty.fix(difficulty);
        }
        reply::result(step.out, id, "true");
        match self.is_working {
            true => {
                if let Some(worker) = self.workers.newest().filter(|_| is_new) {
                    self.report_worker(worker, step);
                }
                self.difficulty.await_job_if_changed();
            }
            false => self.start(step),
        }
    }

    /// `mining.suggest_difficulty`: `[difficulty]`.
    pub(super) fn suggest_difficulty(&mut self, id: &str, params: &str, step: &mut Step<'_>) {
        let Some(difficulty) = number(elements(params).first()).and_then(Difficulty::new) else {
            return reply::error(step.out, id, Reject::Malformed("suggest_difficulty needs a positive number"));
        };
        self.difficulty.suggest(difficulty, step.now.steady);
        reply::result(step.out, id, "true");
        self.difficulty.await_job_if_changed();
    }
}

/// The parameters of `mining.subscribe`: user agent and session id, of which each may be missing.
fn subscribe_params(params: &str) -> Result<[Option<Cow<'_, str>>; 2], WrongType> {
    let params = array(params).ok_or(WrongType)?;
    Ok([optional_string(params.first())?, optional_string(params.get(1))?])
}

/// The version mask that a miner requests: all bits without a mask, none if the mask is invalid.
fn requested_mask(options: &Options<'_>) -> u32 {
    match options.get("version-rolling.mask") {
        Some(mask) => string(Some(mask)).and_then(|mask| hex_u32(&mask)).unwrap_or(0),
        None => u32::MAX,
    }
}

/// The minimum difficulty that a miner requests; 0 cancels an earlier request.
fn requested_floor(options: &Options<'_>) -> Option<Difficulty> {
    match number(options.get("minimum-difficulty.value"))? {
        0.0 => Some(Difficulty::FLOOR),
        floor => Difficulty::new(floor),
    }
}

/// The difficulty of an option such as `d=512` in a password such as `x,d=512`.
fn fixed_difficulty(password: &str) -> Option<Difficulty> {
    let mut words = password.split([',', ';', ' ', '&']);
    words.find_map(|word| Difficulty::new(word.trim().strip_prefix("d=")?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difficulty_option_of_a_password_is_parsed() {
        let fixed = |password| fixed_difficulty(password).map(Difficulty::get);
        assert_eq!(fixed("d=512"), Some(512.0));
        assert_eq!(fixed("x, d=0.5;y"), Some(0.5));
        for none in ["", "x", "d=", "d=x", "d=-1", "d=nan", "d=inf", "id=5"] {
            assert_eq!(fixed(none), None, "{none}");
        }
    }
}
