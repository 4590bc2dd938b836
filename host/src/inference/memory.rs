//! Memory that was freed and that the system does not have back yet.
//!
//! glibc keeps an arena for every few threads, and returns only what is free at an arena's end. After a
//! burst on many connections, and after a model was loaded, tens of MiB are free in the middle.

/// Gives free memory of this process back to the system. Some milliseconds, in which other threads
/// may wait for memory: for idle times only. Does nothing where the allocator is not glibc's.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "glibc has no safe door to this")]
    // SAFETY: malloc_trim takes no pointer, locks what it changes, and touches free memory only.
    unsafe {
        // What it returns, whether anything was given back, changes nothing for us.
        libc::malloc_trim(0);
    }
}
