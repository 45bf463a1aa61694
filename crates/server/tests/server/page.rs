//! The chat page as it is served; what it does is driven in a browser by `tools/page-test/run`.

use crate::rig::{Rig, config};
use ds4_server::Config;

#[test]
fn the_page_is_served_with_its_policy_and_no_key() {
    let rig = Rig::with(Config {
        keys: vec!["secret".to_owned()],
        ..config()
    });
    let page = rig.get("/");
    assert_eq!(page.status(), 200);
    let header = |name| page.head.header(name).unwrap_or_default();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(page.body.contains("/page/app.js"));
    let script = rig.get("/page/app.js");
    assert_eq!(
        script.head.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(rig.get("/page/nothing.js").status(), 404);
    assert_eq!(rig.get("/page/../v1/models").status(), 404);
    assert_eq!(rig.get("/v1/models").status(), 401);
}

#[test]
fn a_page_that_is_known_is_not_sent_again() {
    let rig = Rig::new();
    let first = rig.get("/page/style.css");
    let tag = first.head.header("etag").unwrap();
    let mut client = rig.client();
    let known = format!("\"other\", {tag}");
    client.send("GET", "/page/style.css", &[("If-None-Match", &known)], "");
    let again = client.reply();
    assert_eq!((again.status(), again.body.as_str()), (304, ""));
    assert_eq!(again.head.header("etag"), Some(tag));
    client.send(
        "GET",
        "/page/style.css",
        &[("If-None-Match", "\"other\"")],
        "",
    );
    assert_eq!(client.reply().status(), 200);
}

#[test]
fn no_reply_may_be_taken_for_something_else() {
    let rig = Rig::new();
    for path in ["/", "/health", "/v1/models", "/nowhere", "/metrics"] {
        let reply = rig.get(path);
        let sniff = reply.head.header("x-content-type-options");
        assert_eq!(sniff, Some("nosniff"), "{path}");
    }
}
