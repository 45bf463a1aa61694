//! Names for calls, messages, responses and signatures: 128 random bits, so that nobody can guess
//! what another client was given.

use std::fmt::Write;

/// `prefix` and 128 random bits in hexadecimal.
pub(crate) fn fresh(prefix: &str) -> String {
    let mut id = String::with_capacity(prefix.len() + 32);
    id.push_str(prefix);
    let _ = write!(id, "{:016x}{:016x}", number(), number());
    id
}

/// 64 random bits.
pub(crate) fn number() -> u64 {
    // The system's source fails only where there is none at all; a server without it must not
    // hand out ids.
    getrandom::u64().expect("the system has a source of random numbers")
}

#[cfg(test)]
mod tests {
    use super::fresh;

    #[test]
    fn ids_differ_and_are_long() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| fresh("call_")).collect();
        assert_eq!(ids.len(), 1000);
        assert!(
            ids.iter()
                .all(|id| id.len() == 37 && id.starts_with("call_"))
        );
    }
}
