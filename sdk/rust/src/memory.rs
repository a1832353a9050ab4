//! A guest's memory. In: layouts. Out: small blocks by size class, large ones from the standard library's
//! allocator.
//!
//! A record crosses into a guest as about eight small lists and strings, each allocated by the host and
//! freed by the guest, and a JSON value is hundreds of small blocks more. The standard library's
//! allocator for Wasm searches and coalesces for each of them; here a small block is the first of its
//! class's list of free ones, or the next piece of a chunk, and is not given to another class again.
//! An instance's memory is bounded and instances are replaced, so nothing is lost by that for long.
//!
//! It belongs to one thread: a guest has no other. A crate that wants its own `#[global_allocator]`
//! switches off this crate's default feature `memory`.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr;

/// Largest block that has a class, in bytes: beyond it copying costs more than finding a place.
const SMALL_BYTES_MAX: usize = 4096;
/// Alignment of every block that has a class.
const ALIGN: usize = 16;
/// Number of classes: 16 to 128 bytes by 16, then four to each doubling.
const CLASSES: usize = 8 + 5 * 4;
/// Bytes taken from the standard library's allocator at once: a Wasm page, and room for its header.
const CHUNK_BYTES: usize = 64 * 1024 - 64;

/// An allocator for one thread over another one.
pub struct Memory<A> {
    /// The first free block of each class; each free block begins with the address of the next one.
    free: [Cell<*mut u8>; CLASSES],
    /// What is left of the newest chunk.
    chunk: Cell<*mut u8>,
    chunk_bytes: Cell<usize>,
    large: A,
}

impl<A> Memory<A> {
    /// Nothing is taken before the first block is asked for.
    pub const fn new(large: A) -> Self {
        Self {
            free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            chunk: Cell::new(ptr::null_mut()),
            chunk_bytes: Cell::new(0),
            large,
        }
    }
}

// SAFETY: without the feature `atomics` a guest has one thread.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
unsafe impl<A> Sync for Memory<A> {}

/// The class of a block of so many bytes, and how many bytes its blocks have.
#[inline]
const fn class(bytes: usize) -> (usize, usize) {
    let last = bytes.saturating_sub(1);
    if last < 128 {
        let class = last / ALIGN;
        return (class, (class + 1) * ALIGN);
    }
    let doubling = last.ilog2() as usize;
    let quarter = (last >> (doubling - 2)) & 3;
    (8 + (doubling - 7) * 4 + quarter, (quarter + 5) << (doubling - 2))
}

#[inline]
const fn is_small(layout: Layout) -> bool {
    layout.size() <= SMALL_BYTES_MAX && layout.align() <= ALIGN
}

impl<A: GlobalAlloc> Memory<A> {
    /// The next piece of the chunk, or of a new one. What is left of the old one is too small to keep.
    fn fresh(&self, bytes: usize) -> *mut u8 {
        if self.chunk_bytes.get() < bytes {
            let Ok(layout) = Layout::from_size_align(CHUNK_BYTES, ALIGN) else { return ptr::null_mut() };
            // SAFETY: the layout has a size.
            let chunk = unsafe { self.large.alloc(layout) };
            if chunk.is_null() {
                return chunk;
            }
            self.chunk.set(chunk);
            self.chunk_bytes.set(CHUNK_BYTES);
        }
        let block = self.chunk.get();
        // SAFETY: the chunk has at least so many bytes left.
        self.chunk.set(unsafe { block.add(bytes) });
        self.chunk_bytes.set(self.chunk_bytes.get() - bytes);
        block
    }
}

// SAFETY: a block is handed out once until it is given back: it comes from the chunk, which only moves
// on, or from its class's list, which it leaves. Blocks of one class have the same size, at least what
// was asked for; their sizes and the chunks' addresses are multiples of `ALIGN`. Whether a block has a
// class follows from its layout alone, which is the same when it comes back.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Memory<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_small(layout) {
            // SAFETY: as our caller promised.
            return unsafe { self.large.alloc(layout) };
        }
        let (class, bytes) = class(layout.size());
        let block = self.free[class].get();
        if block.is_null() {
            return self.fresh(bytes);
        }
        // SAFETY: a free block begins with the address of the next one.
        self.free[class].set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_small(layout) {
            // SAFETY: as our caller promised.
            return unsafe { self.large.dealloc(block, layout) };
        }
        let (class, _) = class(layout.size());
        // SAFETY: nobody else uses the block any more, and every class has room for an address.
        unsafe { block.cast::<*mut u8>().write(self.free[class].get()) };
        self.free[class].set(block);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_small(layout) {
            // SAFETY: as our caller promised. Fresh memory is not written again.
            return unsafe { self.large.alloc_zeroed(layout) };
        }
        // SAFETY: as our caller promised; the block has at least that size.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(bytes, layout.align()) else { return ptr::null_mut() };
        match (is_small(layout), is_small(wanted)) {
            // SAFETY: as our caller promised.
            (false, false) => unsafe { self.large.realloc(block, layout, bytes) },
            (true, true) if class(layout.size()).0 == class(bytes).0 => block,
            // SAFETY: both blocks have at least as many bytes as are copied, and are not the same.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, layout.size().min(bytes));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        let mut last = (0, 0);
        for bytes in 1..=SMALL_BYTES_MAX {
            let (class, block_bytes) = class(bytes);
            assert!(class < CLASSES && block_bytes >= bytes && block_bytes % ALIGN == 0, "{bytes}");
            assert!(block_bytes <= bytes.next_multiple_of(ALIGN).max(bytes + bytes / 4), "{bytes} in {block_bytes}");
            assert!((class, block_bytes) == last || (class == last.0 + usize::from(last.1 > 0) && bytes == last.1 + 1));
            last = (class, block_bytes);
        }
        assert_eq!(last, (CLASSES - 1, SMALL_BYTES_MAX));
    }

    /// What one block was filled with, so that two that overlap are noticed.
    struct Held {
        block: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Held {
        #[allow(unsafe_code)]
        fn is_whole(&self) -> bool {
            // SAFETY: the block was allocated with this layout and filled.
            let bytes = unsafe { std::slice::from_raw_parts(self.block, self.layout.size()) };
            bytes.iter().all(|byte| *byte == self.mark) && self.block.addr().is_multiple_of(self.layout.align())
        }
    }

    #[test]
    #[allow(unsafe_code)]
    fn blocks_that_come_go_and_grow_never_overlap() {
        let memory = Memory::new(System);
        let mut held: Vec<Held> = Vec::new();
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for turn in 0..40_000_u64 {
            let size = match next(4) {
                0 => next(10_000),
                1 => next(4_200),
                _ => next(200),
            } as usize;
            let layout = Layout::from_size_align(size.max(1), 1 << next(6)).unwrap();
            let mark = turn as u8;
            let place = next(held.len().max(1) as u64) as usize;
            match next(5) {
                0 | 1 => {
                    // SAFETY: the layout has a size; the block is filled as far as it goes.
                    let block = unsafe {
                        let block =
                            if mark.is_multiple_of(2) { memory.alloc(layout) } else { memory.alloc_zeroed(layout) };
                        if !mark.is_multiple_of(2) {
                            assert!(Held { block, layout, mark: 0 }.is_whole());
                        }
                        block.write_bytes(mark, layout.size());
                        block
                    };
                    held.push(Held { block, layout, mark });
                }
                // Rarer than the other: more and more are held.
                2 if !held.is_empty() => {
                    let gone = held.swap_remove(place);
                    assert!(gone.is_whole());
                    // SAFETY: it was allocated here with this layout.
                    unsafe { memory.dealloc(gone.block, gone.layout) };
                }
                _ if !held.is_empty() => {
                    let old = &mut held[place];
                    assert!(old.is_whole());
                    let common = old.layout.size().min(layout.size());
                    // SAFETY: it was allocated here with this layout.
                    let block = unsafe { memory.realloc(old.block, old.layout, layout.size()) };
                    let layout = Layout::from_size_align(layout.size(), old.layout.align()).unwrap();
                    let kept = Layout::from_size_align(common, old.layout.align()).unwrap();
                    assert!(Held { block, layout: kept, mark: old.mark }.is_whole());
                    // SAFETY: the block has this layout now.
                    unsafe { block.write_bytes(mark, layout.size()) };
                    *old = Held { block, layout, mark };
                }
                _ => {}
            }
        }
        assert!(held.len() > 100);
        for rest in held {
            assert!(rest.is_whole());
            // SAFETY: it was allocated here with this layout.
            unsafe { memory.dealloc(rest.block, rest.layout) };
        }
    }

    #[test]
    #[allow(unsafe_code)]
    fn a_block_that_was_freed_is_the_next_of_its_class() {
        let memory = Memory::new(System);
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: the layouts have sizes and stay with their blocks.
        unsafe {
            let one = memory.alloc(layout);
            let other = memory.alloc(layout);
            memory.dealloc(one, layout);
            let another = memory.alloc(Layout::from_size_align(112, 16).unwrap());
            assert_eq!(another, one);
            assert_eq!(other.addr() - one.addr(), 112);
        }
    }
}
