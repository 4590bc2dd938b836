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

/// Gives the memory of cells back to the system, as far as they fill whole pages. What was in them is gone:
/// they are zero, or what they were.
pub(super) fn release<T: Copy + Default>(cells: &mut [T]) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Where pages are larger, the system refuses what is not aligned to them, and keeps it.
        const PAGE: usize = 4096;
        let start = cells.as_mut_ptr() as usize;
        let (first, end) = (
            start.next_multiple_of(PAGE),
            (start + size_of_val(cells)) / PAGE * PAGE,
        );
        if first < end {
            #[expect(unsafe_code, reason = "the system's call takes an address")]
            // SAFETY: the pages lie within memory that is borrowed exclusively; for private memory the call
            // leaves them zero, and what is `Copy` here are numbers, for which zero is a value. What it
            // returns changes nothing: pages that are not given back keep what they held.
            unsafe {
                libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED);
            }
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = cells;
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
