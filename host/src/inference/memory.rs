//! Memory that was freed and that the system does not have back yet.
//!
//! glibc keeps an arena for every few threads, and returns only what is free at an arena's end. After a
//! burst on many connections, and after a model was loaded, tens of MiB are free in the middle.

/// Bytes of this process that are in memory; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    /// What Linux counts in, on every machine that this runs on.
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(0, |pages: u64| pages * PAGE)
}

/// Gives the memory of what it is in back to the system, once all before it is dropped.
#[derive(Debug)]
pub(super) struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives free memory of this process back to the system. Some milliseconds, in which other threads
/// may wait for memory: for idle times only. Does nothing where the allocator is not glibc's.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "glibc has no safe door to this")]
    // SAFETY: malloc_trim takes no pointer, locks what it changes, and touches free memory only.
    unsafe {
        // What it returns, whether anything was given back, changes nothing for us.
        libc::malloc_trim(0);
    }
}
