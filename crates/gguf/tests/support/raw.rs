//! GGUF bytes without any rule.

/// Bytes in the making.
pub struct Raw {
    bytes: Vec<u8>,
}

/// Magic, version and counts.
pub fn head(tensors: u64, keys: u64) -> Raw {
    Raw::new().bytes(b"GGUF").u32(3).u64(tensors).u64(keys)
}

impl Raw {
    pub fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub fn zeros(self, count: usize) -> Self {
        self.bytes(&vec![0; count])
    }

    pub fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }

    /// Key and type of an entry; the value comes next.
    pub fn key(self, key: &str, of: u32) -> Self {
        self.text(key).u32(of)
    }

    pub fn tensor(self, name: &str, dims: &[u64], of: u32, offset: u64) -> Self {
        let named = self.text(name).u32(dims.len() as u32);
        dims.iter()
            .fold(named, |raw, &size| raw.u64(size))
            .u32(of)
            .u64(offset)
    }

    pub fn repeat(self, times: usize, step: impl Fn(Self) -> Self) -> Self {
        (0..times).fold(self, |raw, _| step(raw))
    }

    /// Padding up to a multiple of 32, then `count` bytes of data.
    pub fn data(self, count: usize) -> Self {
        let padding = self.bytes.len().next_multiple_of(32) - self.bytes.len();
        self.zeros(padding + count)
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
