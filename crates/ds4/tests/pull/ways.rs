//! Ways to a hub: encrypted, and through a proxy.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use crate::hub::{Hub, Proxy, noise};
use crate::{FILE, Home, honest, said};

/// Who vouches for the hub of the tests.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pull/tls/ca.pem");

fn pull(home: &Home, endpoint: &str, variables: &[(&str, &str)]) -> Output {
    let words = ["pull", FILE, "--patience", "2", "--idle", "5"];
    let mut command = home.command(endpoint, &words);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn arrived(home: &Home, output: &Output, file: &[u8]) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let bytes = std::fs::read(home.model("weights.bin")).unwrap();
    assert!(bytes == file, "other bytes than the hub has");
}

#[test]
fn a_hub_is_believed_by_its_certificate() {
    assert!(Path::new(AUTHORITY).exists());
    let file = Arc::new(noise(31, 300_000));
    let served = Arc::clone(&file);
    let hub = Hub::secure(move |asked| honest(&served, asked));
    let endpoint = format!("https://{}", hub.address);
    let home = Home::new();
    // Nobody this machine trusts vouches for it.
    let output = pull(&home, &endpoint, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(hub.asked().is_empty(), "nothing is asked before");
    // It is not who it was taken for.
    let elsewhere = endpoint.replace("127.0.0.1", "localhost");
    let output = pull(&home, &elsewhere, &[("SSL_CERT_FILE", AUTHORITY)]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(hub.asked().is_empty(), "nothing is asked before");
    let output = pull(&home, &endpoint, &[("SSL_CERT_FILE", AUTHORITY)]);
    arrived(&home, &output, &file);
}

#[test]
fn a_proxy_is_used_where_one_is_set() {
    let file = Arc::new(noise(32, 300_000));
    let served = Arc::clone(&file);
    let hub = Hub::secure(move |asked| honest(&served, asked));
    let proxy = Proxy::to(&hub.address);
    let through = format!("http://{}", proxy.address);
    let home = Home::new();
    // Only the proxy knows where hub.test is.
    let variables = [
        ("SSL_CERT_FILE", AUTHORITY),
        ("HTTPS_PROXY", through.as_str()),
    ];
    let output = pull(&home, "https://hub.test", &variables);
    arrived(&home, &output, &file);
    let asked = proxy.asked();
    let connects = |line: &String| line.starts_with("CONNECT hub.test:443 ");
    assert!(asked.len() >= 2 && asked.iter().all(connects), "{asked:?}");
    // The token and the path are for the hub alone.
    assert!(
        hub.asked()
            .iter()
            .all(|asked| asked.path.starts_with("/owner/name/"))
    );
}
