//! Who asks: a key is a tenant, and tenants know nothing of each other.

/// A tenant. Made from its key, so it is the same after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tenant([u8; 32]);

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label())
    }
}

impl Tenant {
    /// The one tenant of a server without keys.
    pub(crate) const EVERYBODY: Self = Self([0; 32]);

    fn of_key(key: &str) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("ds4 server tenant, version 1");
        hash.update(key.as_bytes());
        Self(*hash.finalize().as_bytes())
    }

    /// A name for logs that does not tell the key.
    pub(crate) fn label(self) -> String {
        match self {
            Self::EVERYBODY => "-".to_owned(),
            Self(bytes) => bytes[..4]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    }

    /// The tenant of this name.
    pub(crate) fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The whole name.
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }
}

/// The keys that open the server.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Tenant>);

impl Keys {
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| Tenant::of_key(key)).collect())
    }

    /// Is nobody asked for one?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who has this key. Takes as long for every key, right or wrong: hashes are compared, all of
    /// them, each in constant time.
    pub(crate) fn tenant(&self, given: Option<&str>) -> Option<Tenant> {
        if self.is_empty() {
            return Some(Tenant::EVERYBODY);
        }
        let given = Tenant::of_key(given?);
        let hash = blake3::Hash::from_bytes(given.0);
        let mut found = None;
        for tenant in &self.0 {
            // `blake3::Hash` compares in constant time.
            if hash == blake3::Hash::from_bytes(tenant.0) {
                found = Some(*tenant);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, Tenant};

    #[test]
    fn a_key_opens_for_its_own_tenant() {
        let keys = Keys::new(&["one".to_owned(), "two".to_owned()]);
        let one = keys.tenant(Some("one")).unwrap();
        assert_ne!(Some(one), keys.tenant(Some("two")));
        assert_eq!(keys.tenant(Some("on")), None);
        assert_eq!(keys.tenant(Some("")), None);
        assert_eq!(keys.tenant(None), None);
        assert!(!one.label().contains("one") && one.label().len() == 8);
        assert_eq!(Keys::default().tenant(None), Some(Tenant::EVERYBODY));
    }
}
