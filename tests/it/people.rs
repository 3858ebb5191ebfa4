//! People: signing in to the page through the simulated Entra, and what they then may do.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::harness::{Demo, eventually};

/// A browser as far as signing in needs one: cookies, and one redirect after the other.
pub struct Browser {
    http: Client,
    page: String,
    cookies: Vec<(String, String)>,
}

impl Browser {
    pub fn new(page: &str) -> Self {
        Self::with(ado_coworker::config::http_client().unwrap(), page)
    }

    pub fn with(http: Client, page: &str) -> Self {
        Self { http, page: page.to_owned(), cookies: vec![] }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let own: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header(COOKIE, own.join("; ")).send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            assert!(
                text.contains("HttpOnly") && text.contains("SameSite=Lax") && text.contains("Path=/"),
                "{text}"
            );
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(own, _)| own != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        response
    }

    pub async fn get(&mut self, path: &str) -> Response {
        let url = if path.starts_with('/') { format!("{}{path}", self.page) } else { path.to_owned() };
        let request = self.http.get(url);
        self.send(request).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Response {
        let request = self.http.post(format!("{}{path}", self.page)).json(&body);
        self.send(request).await
    }

    pub async fn text(&mut self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    /// Goes to Entra and comes back to the callback, whose answer it gives.
    pub async fn follow_to_callback(&mut self, path: &str) -> Response {
        let entra = location(&self.get(path).await);
        let back = location(&self.get(&entra).await);
        assert!(back.contains("/sign-in/callback?"), "{back}");
        self.get(&back).await
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> String {
        let found = self.cookies.iter().find(|(own, _)| own == name);
        found.unwrap_or_else(|| panic!("no cookie {name}")).1.clone()
    }

    pub async fn sign_in(&mut self, who: &str) {
        let response = self.follow_to_callback(&format!("/sign-in?as={who}")).await;
        assert_eq!((response.status().as_u16(), location(&response)), (303, "/".to_owned()));
    }
}

fn location(response: &Response) -> String {
    let location = response.headers().get(LOCATION);
    location.unwrap_or_else(|| panic!("{response:?}")).to_str().unwrap().to_owned()
}

/// Has the simulated Entra do something.
async fn entra(demo: &Demo, what: &str, body: Value) {
    let authorize = location(&Browser::new(&demo.page).get("/sign-in").await);
    let origin = url::Url::parse(&authorize).unwrap().origin().ascii_serialization();
    let url = format!("{origin}/_simulator/entra/{what}");
    let response = demo.http.post(url).json(&body).send().await.unwrap();
    assert!(response.status().is_success(), "{what}: {}", response.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_have_their_roles_and_sign_out() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let mut browser = Browser::new(&demo.page);
    let page = browser.text("/").await;
    assert!(
        page.contains("You are <b>bob</b>") && page.contains("href=\"/sign-in\""),
        "the local person instructs"
    );

    // One picks who one is, on a page that says that it is a simulation.
    let authorize = location(&browser.get("/sign-in?to=/runs").await);
    let shown = browser.text(&authorize).await;
    assert!(shown.contains("Alice Martin") && shown.contains("simulated"), "{shown}");
    let response = browser.follow_to_callback("/sign-in?to=/runs&as=alice").await;
    assert_eq!(location(&response), "/runs");
    let page = browser.text("/").await;
    assert!(
        page.contains("You are <b>Alice Martin</b> (instructor, approver, admin, break glass)"),
        "{page}"
    );

    let response = browser.post("/api/runs", json!({"instruction": "List the open work items"})).await;
    assert_eq!(response.status(), 202);
    let made: Value = response.json().await.unwrap();
    let run = made["id"].as_str().unwrap();
    let record = browser.text(&format!("/api/audit/{run}")).await;
    assert!(record.contains("alice@contoso.example") && record.contains("a1e3e000-"), "{record}");

    let id = browser.cookies.iter().find(|(name, _)| name.contains("session")).unwrap().1.clone();
    let response = browser.post("/sign-out", json!({})).await;
    assert_eq!(response.status(), 303);
    assert!(browser.text("/").await.contains("You are <b>bob</b>"));
    browser.cookies.push(("ado-coworker-session".into(), id));
    assert!(browser.text("/").await.contains("You are <b>bob</b>"), "an ended session is none");

    browser.sign_in("carol").await;
    let page = browser.text("/").await;
    assert!(page.contains("Carol Nguyen</b> (instructor, approver, auditor)"), "{page}");
    // A record is for who gave the order and for auditors; everything is stopped by administrators.
    let records = [format!("/api/audit/{run}"), format!("/runs/{run}/replay")];
    for path in &records {
        let as_bob = demo.http.get(format!("{}{path}", demo.page)).send().await.unwrap();
        assert_eq!(as_bob.status(), 403, "{path}");
        assert_eq!(browser.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(browser.post("/api/kill", json!({})).await.status(), 403);
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_not_begun_here_or_was_tampered_with_ends_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    // Somebody else's answer, sent to this browser.
    let mut theirs = Browser::new(&demo.page);
    let begun = location(&theirs.get("/sign-in?as=alice").await);
    let answer = location(&theirs.get(&begun).await);
    let mut own = Browser::new(&demo.page);
    let response = own.get(&answer).await;
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("has not begun a sign-in"));
    own.get("/sign-in").await;
    let response = own.get(&answer).await;
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("belongs to another sign-in"));
    // A code works once.
    assert_eq!(theirs.get(&answer).await.status(), 303);
    assert_ne!(theirs.get(&answer).await.status(), 303);
    // Nobody is led away by a link to us.
    for bad in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1"] {
        let path: String = url::form_urlencoded::byte_serialize(bad.as_bytes()).collect();
        let response = own.follow_to_callback(&format!("/sign-in?as=bob&to={path}")).await;
        assert_eq!(location(&response), "/", "{bad}");
    }
    // Declined, or refused by Entra.
    let begun = location(&own.get("/sign-in").await);
    let (address, query) = begun.split_once('?').unwrap();
    let mut form: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    form.push(("user".into(), String::new()));
    let back = location(&own.http.post(address).form(&form).send().await.unwrap());
    let response = own.get(&back).await;
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("declined"));
    // The form of another site does not sign anybody out.
    own.sign_in("bob").await;
    let request = own.http.post(format!("{}/sign-out", demo.page)).header("sec-fetch-site", "cross-site");
    assert_eq!(own.send(request).await.status(), 403);
    assert!(own.text("/").await.contains("Bob Keller"));
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_groups_that_do_not_fit_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let mut browser = Browser::new(&demo.page);
    browser.sign_in("alice").await;
    entra(&demo, "rotate-keys", json!({"end_old": true})).await;
    browser.sign_in("carol").await;
    assert!(browser.text("/").await.contains("Carol Nguyen"), "a key that is not known yet is fetched");

    entra(&demo, "groups-overage", json!({"user": "alice@contoso.example"})).await;
    browser.sign_in("alice").await;
    let page = browser.text("/").await;
    assert!(page.contains("Alice Martin</b> (instructor, approver, admin, break glass)"), "{page}");

    // Disabled people do not get in.
    entra(&demo, "disable", json!({"id": "bob@contoso.example"})).await;
    let begun = location(&browser.get("/sign-in").await);
    let (address, query) = begun.split_once('?').unwrap();
    let mut form: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    form.push(("user".into(), "bob".into()));
    let back = location(&browser.http.post(address).form(&form).send().await.unwrap());
    let response = browser.get(&back).await;
    assert_eq!(response.status(), 403);
    let text = response.text().await.unwrap();
    assert!(text.contains("AADSTS50057"), "{text}");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_a_restart_and_the_page_says_who_the_co_worker_is() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let mut browser = Browser::new(&demo.page);
    browser.sign_in("carol").await;
    let page = eventually("a verified identity", async || {
        let page = browser.text("/identity").await;
        (!page.contains("Not verified yet")).then_some(page)
    })
    .await;
    for words in [
        "ado-coworker@contoso.example",
        "44444444-dddd-4ddd-8ddd-444444444444",
        "22222222-bbbb-4bbb-8bbb-222222222222",
        "<dt>Sponsor</dt><dd>alice@contoso.example</dd>",
        "xms_sub_fct",
        "3 13",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    demo.stop().await;
    let demo = Demo::start(folder.path()).await;
    browser.page = demo.page.clone();
    assert!(browser.text("/").await.contains("Carol Nguyen</b> (instructor, approver, auditor)"));
    demo.stop().await;
}
