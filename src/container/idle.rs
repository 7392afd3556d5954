//! The memory of a process that does nothing but wait: what it can get back when it goes on, it gives back.
//!
//! A container in the background has a rubber beside it for as long as it runs. That one has read the command line
//! and made a container, and would keep the pages of the program that did it, two and a half megabytes, to wait.

use nix::libc::{self, PF_W, PT_LOAD, dl_phdr_info};
use std::ffi::{c_int, c_void};

/// Milliseconds without anything to do after which it is worth the while.
pub const SOON: u16 = 1000;

/// The pages come back from the file, or from the kernel, when they are touched.
pub fn give_back() {
    // SAFETY: it frees nothing but what malloc holds for itself.
    unsafe { libc::malloc_trim(0) };
    let mut pages: Vec<(usize, usize)> = vec![];
    // SAFETY: the function has the signature that is asked for, and the data is what it takes it for.
    unsafe { libc::dl_iterate_phdr(Some(of_object), (&raw mut pages).cast()) };
    // The last thing done: whatever code runs now comes back, with all that is around it.
    for (first, length) in pages {
        // SAFETY: these pages are as they are in the file, and will be again when they are read (madvise(2)).
        unsafe { libc::madvise(first as *mut c_void, length, libc::MADV_DONTNEED) };
    }
}

/// The program itself, and each library where there are any.
unsafe extern "C" fn of_object(about: *mut dl_phdr_info, _: usize, pages: *mut c_void) -> c_int {
    // SAFETY: all are valid for as long as this function runs (dl_iterate_phdr(3)), the last one is `give_back`'s.
    let (base, segments, pages) = unsafe {
        let about = &*about;
        let segments = std::slice::from_raw_parts(about.dlpi_phdr, about.dlpi_phnum.into());
        (about.dlpi_addr, segments, &mut *pages.cast::<Vec<(usize, usize)>>())
    };
    // What may be written to has been (by the linker, too), and would be lost.
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_W == 0)
    {
        let (start, end) = (base + segment.p_vaddr, base + segment.p_vaddr + segment.p_memsz);
        pages.extend(whole_pages(start as usize, end as usize));
    }
    0
}

/// The first and the last may be others' as well. (The kernel's own small object, the vdso, has none.)
fn whole_pages(start: usize, end: usize) -> Option<(usize, usize)> {
    // The largest that a processor of ours has.
    const PAGE: usize = if cfg!(target_arch = "x86_64") { 1 << 12 } else { 1 << 16 };
    let (first, last) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
    (first < last).then(|| (first, last - first))
}
