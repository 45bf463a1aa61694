//! What pages and frontiers are called.
//!
//! A page is named by everything it is the result of: the page before it, the tokens in it, the
//! model, how its bytes are laid out, and the tenant it belongs to. So equal names mean equal
//! contents, and a name of another model, layout or tenant is never found by accident or by
//! guessing: the last three are the key of the hash.
//!
//! A frontier is named like a page that is not full: by the page before it and the tokens since.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Version of the bytes of pages and frontiers. Part of every name: another layout finds nothing
/// of this one.
pub const LAYOUT: u32 = 1;

/// Whose prefixes these are. Tenants never see each other's, not even by how long a prompt takes:
/// the tenant is part of every name.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tenant([u8; 32]);

impl Tenant {
    /// The tenant of whoever knows `secret`: an API key, an account. The default tenant is
    /// everybody who has none.
    pub fn of(secret: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("ds4 tenant, version 1");
        hash.update(secret);
        Self(*hash.finalize().as_bytes())
    }
}

impl fmt::Debug for Tenant {
    /// Enough to tell tenants apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", Hex(&self.0[..4]))
    }
}

/// What names are made under: one model, one layout, one tenant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope([u8; 32]);

impl Scope {
    /// The scope of a tenant's sessions of the model `identity`.
    pub fn new(identity: &[u8; 32], tenant: Tenant) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("ds4 page names, version 1");
        hash.update(identity);
        hash.update(&LAYOUT.to_le_bytes());
        hash.update(&tenant.0);
        Self(*hash.finalize().as_bytes())
    }

    /// The name of no tokens at all: where every path of this scope begins.
    pub fn root(&self) -> Name {
        Name(*blake3::keyed_hash(&self.0, &[]).as_bytes())
    }

    /// The name of what follows `before` by `tokens`: a page if they fill one, a frontier if not.
    pub fn next(&self, before: Name, tokens: &[u32]) -> Name {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        hash.update(&before.0);
        let mut bytes = [0; 4 * PIECE];
        for tokens in tokens.chunks(PIECE) {
            for (to, token) in bytes.chunks_exact_mut(4).zip(tokens) {
                to.copy_from_slice(&token.to_le_bytes());
            }
            hash.update(&bytes[..4 * tokens.len()]);
        }
        Name(*hash.finalize().as_bytes())
    }
}

/// Tokens hashed at a time.
const PIECE: usize = 256;

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", Hex(&self.0[..4]))
    }
}

/// What a page or a frontier is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub [u8; 32]);

impl Hash for Name {
    /// Without its length, which is always the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", Hex(&self.0[..4]))
    }
}

/// A table by names.
pub(crate) type NameMap<V> = HashMap<Name, V, BuildHasherDefault<Taken>>;

/// Names are hashes already: their first bytes do.
#[derive(Default)]
pub(crate) struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The names of the full pages of a list of tokens that grows: each is hashed once.
#[derive(Clone, Debug)]
pub struct Chain {
    scope: Scope,
    page_tokens: usize,
    names: Vec<Name>,
}

impl Chain {
    /// The chain of no tokens.
    pub fn new(scope: Scope, page_tokens: usize) -> Self {
        Self {
            scope,
            page_tokens,
            names: Vec::new(),
        }
    }

    /// What its names are made under.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The names of the full pages of `tokens`, in order. Those named before are taken to be of
    /// the same tokens: say [`Self::truncate`] when they change.
    pub fn names(&mut self, tokens: &[u32]) -> &[Name] {
        let full = tokens.chunks_exact(self.page_tokens);
        for page in full.skip(self.names.len()) {
            let before = self.names.last().copied();
            let before = before.unwrap_or_else(|| self.scope.root());
            self.names.push(self.scope.next(before, page));
        }
        &self.names[..tokens.len() / self.page_tokens]
    }

    /// Forgets the pages that tokens from `tokens` on are in.
    pub fn truncate(&mut self, tokens: usize) {
        self.names.truncate(tokens / self.page_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::{Chain, Scope, Tenant};

    #[test]
    fn everything_it_depends_on_changes_a_name() {
        let scope = |identity: u8, tenant| Scope::new(&[identity; 32], tenant);
        let (one, two) = (Tenant::of(b"one"), Tenant::of(b"two"));
        let names = [
            scope(1, one).next(scope(1, one).root(), &[1, 2]),
            scope(1, one).next(scope(1, one).root(), &[1, 3]),
            scope(1, one).next(scope(1, one).next(scope(1, one).root(), &[1]), &[2]),
            scope(1, two).next(scope(1, one).root(), &[1, 2]),
            scope(2, one).next(scope(1, one).root(), &[1, 2]),
            scope(1, Tenant::default()).next(scope(1, one).root(), &[1, 2]),
            scope(1, one).root(),
        ];
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{at}");
        }
    }

    #[test]
    fn a_chain_that_grew_and_shrank_is_the_plain_one() {
        let tokens: Vec<u32> = (0..1000).collect();
        let scope = Scope::new(&[7; 32], Tenant::default());
        let mut plain = Chain::new(scope, 300);
        let plain = plain.names(&tokens);
        assert_eq!(plain.len(), 3);
        let mut chain = Chain::new(scope, 300);
        chain.names(&[9; 700]);
        chain.truncate(0);
        assert_eq!(chain.names(&tokens[..650]), &plain[..2]);
        chain.truncate(599);
        assert_eq!(chain.names(&tokens), plain);
        assert_eq!(chain.names(&tokens[..300]), &plain[..1]);
    }
}
