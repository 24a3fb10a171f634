//! Stratum v1: line codec, session state machine, vardiff.
