//! Files with secrets, and which answers are mistakes.

use super::*;

#[tokio::test]
async fn a_secret_is_one_line_of_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("secret");
    for (content, told) in
        [(&b"hunter2"[..], Ok("hunter2")), (b"hunter2\r\n", Ok("hunter2")), (b"\n", Err("is empty"))]
    {
        std::fs::write(&file, content).expect("written");
        let read = read_secret("upload.api_key_file", &file).await;
        match told {
            Ok(secret) => assert_eq!(read.expect("a secret").expose(), secret),
            Err(why) => {
                let error = format!("{:#}", read.expect_err("no secret"));
                assert!(error.contains(why) && error.contains("upload.api_key_file"), "{error}");
            }
        }
    }
    std::fs::write(&file, vec![b'x'; 100_000]).expect("written");
    assert!(format!("{:#}", read_secret("k", &file).await.expect_err("too long")).contains("right file"));
    std::fs::write(&file, b"\xff\xfe").expect("written");
    assert!(format!("{:#}", read_secret("k", &file).await.expect_err("no text")).contains("not text"));
    let missing = read_secret("k", &dir.path().join("no")).await.expect_err("missing");
    assert!(format!("{missing:#}").contains("cannot be read"), "{missing:#}");
}

#[test]
fn only_what_time_may_mend_is_tried_again() {
    for status in [301, 400, 401, 403, 404, 413, 422] {
        assert!(is_mistake(status), "{status}");
    }
    for status in [408, 425, 429, 500, 502, 503, 507] {
        assert!(!is_mistake(status), "{status}");
    }
}
