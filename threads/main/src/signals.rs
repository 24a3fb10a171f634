//! SIGINT and SIGTERM: the first requests a shutdown, the second ends the process at once.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::iterator::Signals;

use crate::shutdown::SHUTDOWN_TIMEOUT;
use crate::threads::MainEvent;

/// Exit status if a second signal or the timeout interrupts the shutdown.
const STATUS_INTERRUPTED: i32 = 1;

/// Installs the signal handlers.
///
/// # Errors
/// The system rejects a handler.
pub fn open() -> io::Result<Signals> {
    let requested = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag unset and sets it, the second finds it set.
        register_conditional_shutdown(signal, STATUS_INTERRUPTED, Arc::clone(&requested))?;
        register(signal, Arc::clone(&requested))?;
    }
    Signals::new([SIGINT, SIGTERM])
}

/// Reports the first signal to the main thread, then ends the process after [`SHUTDOWN_TIMEOUT`], whatever the main
/// thread does meanwhile.
pub fn run(mut signals: Signals, events: &Sender<MainEvent>) -> io::Result<()> {
    if let Some(signal) = signals.forever().next() {
        let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
        // Fails only if the main thread has exited already.
        drop(events.send(MainEvent::Signal(name)));
        std::thread::sleep(SHUTDOWN_TIMEOUT);
        log::error!("shutdown timed out after {} s, exiting", SHUTDOWN_TIMEOUT.as_secs());
        std::process::exit(STATUS_INTERRUPTED);
    }
    Ok(())
}
