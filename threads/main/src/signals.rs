//! SIGINT and SIGTERM: the first asks the process to stop, the second ends it at once.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::iterator::Signals;

use crate::shutdown::STOP_TIMEOUT;
use crate::threads::Event;

/// Exit status when a second signal cuts an orderly stop short, or it takes too long.
pub const STATUS_CUT_SHORT: i32 = 1;

/// Takes over the signals.
///
/// # Errors
/// The system refuses the handlers.
pub fn open() -> io::Result<Signals> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down and raises it, the second finds it up.
        register_conditional_shutdown(signal, STATUS_CUT_SHORT, Arc::clone(&asked))?;
        register(signal, Arc::clone(&asked))?;
    }
    Signals::new([SIGINT, SIGTERM])
}

/// Tells the main thread of the first signal, then sees to it that the process ends in time, whatever the main
/// thread is doing. Never returns otherwise.
pub fn run(mut signals: Signals, events: &Sender<Event>) -> io::Result<()> {
    if let Some(signal) = signals.forever().next() {
        let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
        // Fails only when the main thread is gone already.
        drop(events.send(Event::Signal(name)));
        std::thread::sleep(STOP_TIMEOUT);
        log::error!("not all threads stopped within {} s; ending without them", STOP_TIMEOUT.as_secs());
        std::process::exit(STATUS_CUT_SHORT);
    }
    Ok(())
}
