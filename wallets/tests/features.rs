//! The client's feature that lets months pass is this package's alone.

use std::process::Command;

/// The features of everything that a plain invocation of cargo for this package builds.
fn features(package: &str) -> String {
    let tree = ["tree", "--locked", "--offline", "--edges", "all,features", "--package", package];
    let output = Command::new(env!("CARGO")).args(tree).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn rgsd_is_never_built_with_a_client_that_takes_any_time() {
    const LIFTS_THE_CLOCK: &str = "lightning feature \"_test_utils\"";
    let (ours, this) = (features("rgsd"), features("rgsd-wallets"));
    assert!(this.contains(LIFTS_THE_CLOCK), "else this test sees nothing");
    assert!(ours.contains("lightning feature \"std\"") && !ours.contains(LIFTS_THE_CLOCK));
}
