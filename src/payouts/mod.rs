//! The PPLNS window and the payout list (rules, section 7).
