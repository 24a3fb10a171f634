//! The metrics about the process itself, under the names that all Prometheus clients use, from `/proc/self`.
//!
//! The boot time, which a start time in `/proc` counts from, is hidden by the systemd unit (`ProcSubset=pid`), so the start
//! time follows from the uptime.

use p2pool_core::metrics::register;
use p2pool_core::units::UnixTime;
use prometheus::{Counter, Gauge, Registry};

/// Kernel ticks per second in `/proc/self/stat`: 100 on all architectures of Linux that this program supports.
const TICKS_PER_S: f64 = 100.0;

/// Adds the metrics. Those that cannot be read are left out.
pub fn register_metrics(registry: &Registry, now: UnixTime, uptime_s: u64) {
    let gauge = |name, help, value| register(registry, Gauge::new(name, help)).set(value);
    let start_s = f64::from(now.0) - uptime_s as f64;
    gauge("process_start_time_seconds", "Unix time when the process started.", start_s);
    let read = |name| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    if let Some(cpu_s) = read("stat").and_then(|stat| cpu_s(&stat)) {
        let help = "Processor time of the process in user and kernel mode, in seconds.";
        register(registry, Counter::new("process_cpu_seconds_total", help)).inc_by(cpu_s);
    }
    if let Some(bytes) = read("status").and_then(|status| resident_bytes(&status)) {
        gauge("process_resident_memory_bytes", "Resident memory of the process.", bytes);
    }
    if let Some(max) = read("limits").and_then(|limits| max_fds(&limits)) {
        gauge("process_max_fds", "Limit on open file descriptors.", max);
    }
    if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
        // One of them is that of the directory.
        gauge("process_open_fds", "Open file descriptors.", fds.count().saturating_sub(1) as f64);
    }
}

/// Returns the sum of `utime` and `stime` in `/proc/self/stat`, its 14th and 15th field.
fn cpu_s(stat: &str) -> Option<f64> {
    // The second field is the name in brackets, which may hold spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_S)
}

/// Returns `VmRSS` of `/proc/self/status`, which is in units of 1,024 bytes.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1_024.0)
}

/// Returns the soft limit on open files in `/proc/self/limits`; `None` if there is none.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_the_formats_of_linux() {
        let stat = "7 (p2pool) (x) y) S 1 7 7 0 -1 4194560 2100 0 0 0 250 150 0 0 20 0 16 0 9150 1 1";
        assert_eq!(cpu_s(stat), Some(4.0));
        assert_eq!(resident_bytes("Name:\tp2pool\nVmHWM:\t  99 kB\nVmRSS:\t   16 kB\n"), Some(16_384.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(max_fds(limits), Some(1_024.0));
        for truncated in ["", "7 (p2pool) S 1", "VmRSS:", "Max open files            unlimited"] {
            assert_eq!((cpu_s(truncated), resident_bytes(truncated), max_fds(truncated)), (None, None, None));
        }
    }
}
