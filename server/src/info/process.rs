//! What the system tells of this process, where it tells it: on Linux, from `/proc`. Elsewhere the figures are absent.

use std::fs;

/// CPU time of the process, in seconds.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct CpuSeconds {
    pub(super) user: f64,
    pub(super) system: f64,
    /// Of child processes that have ended.
    pub(super) children_user: f64,
    pub(super) children_system: f64,
}

/// CPU time so far. The kernel counts it in hundredths of a second here.
pub(super) fn cpu_seconds() -> Option<CpuSeconds> {
    parse_cpu(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// CPU time of the thread that the program began with; its children are those of the process.
pub(super) fn main_thread_cpu_seconds() -> Option<CpuSeconds> {
    let number = std::process::id();
    parse_cpu(&fs::read_to_string(format!("/proc/self/task/{number}/stat")).ok()?)
}

/// Reads fields 14 to 17 of proc_pid_stat(5), in ticks of which a second has 100 on every platform of Linux's.
fn parse_cpu(stat: &str) -> Option<CpuSeconds> {
    // The name of the program comes second, in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    let mut seconds = || Some(ticks.next()?? / 100.0);
    Some(CpuSeconds { user: seconds()?, system: seconds()?, children_user: seconds()?, children_system: seconds()? })
}

/// Bytes of this process that are in memory.
pub(crate) fn resident_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of memory that the machine has.
pub(super) fn machine_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Bytes from a line such as `VmRSS:   1234 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The system's name and release and the kind of processor, as `uname -srm` prints them.
pub(super) fn system() -> String {
    let read = |file: &str| fs::read_to_string(file).map(|text| text.trim().to_owned()).ok();
    let kernel = read("/proc/sys/kernel/ostype").zip(read("/proc/sys/kernel/osrelease"));
    let name = kernel.map_or_else(|| std::env::consts::OS.to_owned(), |(name, release)| format!("{name} {release}"));
    format!("{name} {}", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 25 1 20 0";
        let seconds = parse_cpu(stat).unwrap();
        assert_eq!((seconds.user, seconds.system), (1.5, 0.5));
        assert_eq!((seconds.children_user, seconds.children_system), (0.25, 0.01));
        assert!(parse_cpu("7 (larder) S 1 2").is_none());
    }

    #[test]
    fn sizes_are_found_by_their_name() {
        let text = "VmPeak:\t  900 kB\nVmRSS:\t  12 kB\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(12 * 1024));
        assert_eq!(kilobytes(text, "VmSwap:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_everything() {
        assert!(cpu_seconds().is_some() && main_thread_cpu_seconds().is_some());
        assert!(resident_bytes() > Some(0));
        assert!(machine_bytes() > resident_bytes());
    }
}
