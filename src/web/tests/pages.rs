use super::*;

#[tokio::test]
async fn a_conversation_works_without_javascript() {
    let door = Door::open().await;
    let page = door.get("/").await;
    assert!(
        page.status == 200 && page.body.contains("Fix login timeout") && page.body.contains("No runs yet")
    );
    let answer = door.form("/runs", "Do <this>\r\nnow").await;
    assert_eq!(answer.status, 303);
    let run = answer.headers["location"].to_str().unwrap().to_owned();
    let page = door.get(&run).await;
    assert!(page.body.contains("Do &#60;this&#62;\nnow"), "{}", page.body);
    assert!(page.body.contains("http-equiv=\"refresh\"") && page.body.contains(">Stop</button>"));
    let answer = door.form(&format!("{run}/messages"), "faster").await;
    assert_eq!(answer.headers["location"], format!("{run}#step-3"));
    assert_eq!(door.form(&format!("{run}/cancel"), "").await.headers["location"], run.as_str());
    assert!(door.get(&run).await.body.contains("Stopping"));
    assert!(door.get("/").await.body.contains(&run));
}

#[tokio::test]
async fn the_doctor_shows_each_check_with_its_remedy() {
    let door = Door::open().await;
    let page = door.get("/doctor").await;
    assert_eq!(page.status, 200);
    for words in ["Failed: 1", "&#60;two&#62; was looked at.", "Mend it.", "Check again"] {
        assert!(page.body.contains(words), "{words} is not in {}", page.body);
    }
    assert_eq!(door.form("/doctor", "").await.headers["location"], "/doctor");
    let checks = door.get("/api/doctor").await.json();
    assert_eq!(checks["checks"][1]["status"], "failed");
    assert_eq!(checks["checks"][0]["remedy"], "");
}
