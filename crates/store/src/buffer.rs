//! Memory that pages and frontiers travel in.
//!
//! What is read or saved goes through blocks of a [`Pool`], which come back to it when the last one
//! lets go: memory that is met for the first time costs more than reading into it does, and memory
//! that a device copies from fastest is dear to get. A [`Buffer`] is shared without a copy, by a
//! session, a tier in memory and the writer of another.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of the host, of whatever kind.
pub type Block = Box<dyn DerefMut<Target = [u8]> + Send + Sync>;

/// Blocks of one size, used again and again.
#[derive(Clone)]
pub struct Pool(Arc<Blocks>);

struct Blocks {
    /// Bytes of a block.
    size: usize,
    /// Blocks kept while nobody uses them.
    most: usize,
    free: Mutex<Vec<Block>>,
}

impl Pool {
    /// A pool of blocks of `size` bytes that keeps up to `most` that nobody uses.
    pub fn new(size: usize, most: usize) -> Self {
        Self(Arc::new(Blocks {
            size,
            most,
            free: Mutex::default(),
        }))
    }

    /// Gives it a block to be used before others.
    pub fn add(&self, block: Block) {
        self.0.keep(block);
    }

    /// Blocks that nobody uses.
    pub fn spare(&self) -> usize {
        self.0.free().len()
    }

    /// `bytes` bytes to be written; what they hold is left over from others. More than a block has
    /// are memory of their own.
    pub fn take(&self, bytes: usize) -> Fresh {
        if bytes > self.0.size {
            return Fresh::own(vec![0; bytes]);
        }
        let free = self.0.free().pop();
        let block = free.unwrap_or_else(|| Box::new(vec![0; self.0.size]));
        let pool = Arc::downgrade(&self.0);
        let block = Some(block);
        Fresh {
            owner: Owner { block, pool },
            bytes,
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.0.size).finish()
    }
}

impl Blocks {
    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Block>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, block: Block) {
        let mut free = self.free();
        if free.len() < self.most && block.len() == self.size {
            free.push(block);
        }
    }
}

/// Bytes that nobody else sees yet.
pub struct Fresh {
    owner: Owner,
    bytes: usize,
}

impl Fresh {
    fn own(bytes: Vec<u8>) -> Self {
        let (pool, count) = (Weak::new(), bytes.len());
        let block: Option<Block> = Some(Box::new(bytes));
        Self {
            owner: Owner { block, pool },
            bytes: count,
        }
    }

    /// Bytes that others may see, and nobody may change.
    pub fn share(self) -> Buffer {
        Buffer {
            range: 0..self.bytes,
            owner: Arc::new(self.owner),
        }
    }
}

impl Deref for Fresh {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let block = self.owner.block.as_ref();
        block.map_or(&[], |block| &block[..self.bytes])
    }
}

impl DerefMut for Fresh {
    fn deref_mut(&mut self) -> &mut [u8] {
        let block = self.owner.block.as_mut();
        block.map_or(&mut [], |block| &mut block[..self.bytes])
    }
}

/// Bytes that may be shared, or a part of them.
#[derive(Clone)]
pub struct Buffer {
    owner: Arc<Owner>,
    range: Range<usize>,
}

struct Owner {
    /// There until it is dropped.
    block: Option<Block>,
    pool: Weak<Blocks>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let (Some(block), Some(pool)) = (self.block.take(), self.pool.upgrade()) {
            pool.keep(block);
        }
    }
}

impl Buffer {
    /// A part of it.
    ///
    /// # Panics
    /// If it has no such part.
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len());
        let begin = self.range.start;
        Self {
            owner: Arc::clone(&self.owner),
            range: begin + range.start..begin + range.end,
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Fresh::own(bytes).share()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let block = self.owner.block.as_ref();
        block.map_or(&[], |block| &block[self.range.clone()])
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, Pool};

    #[test]
    fn blocks_come_back_when_the_last_one_lets_go() {
        let pool = Pool::new(100, 2);
        let mut fresh = pool.take(60);
        fresh.fill(7);
        let address = fresh.as_ptr();
        let buffer = fresh.share();
        let part = buffer.part(10..20).part(5..10);
        assert_eq!((buffer.len(), part.len(), part[0]), (60, 5, 7));
        drop(buffer);
        let other = pool.take(100);
        assert_ne!(other.as_ptr(), address, "a part of it is still seen");
        drop(part);
        assert_eq!(pool.take(10).as_ptr(), address);
    }

    #[test]
    fn larger_ones_and_too_many_are_not_kept() {
        let pool = Pool::new(10, 1);
        drop(pool.take(11).share());
        assert_eq!(pool.0.free().len(), 0);
        let three: Vec<Buffer> = (0..3).map(|_| pool.take(10).share()).collect();
        drop(three);
        assert_eq!(pool.0.free().len(), 1);
        drop(pool.take(10));
        assert_eq!(pool.0.free().len(), 1, "shared or not");
    }
}
