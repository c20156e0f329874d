//! The laboratory itself.

use std::time::Duration;
use switchd_tests::lab::{Ns, ping};
use switchd_tests::{scenario, scenario_as_ordinary_user};

fn alone() {
    let host = Ns::own();
    assert_eq!(host.links(), ["lo"]);
    assert!(
        std::fs::read_dir("/run").unwrap().next().is_none(),
        "/run is not empty"
    );
    let web = Ns::named("web");
    assert_eq!(web.links(), ["lo"]);
    let pings = web
        .run(|| ping([127, 0, 0, 1].into(), 3, 56, Duration::from_secs(5)))
        .unwrap();
    assert!(pings.all(), "{pings:?}");
    web.delete("web");
    assert!(control::netns::names().is_empty());
}

scenario!(a_scenario_has_the_world_for_itself, alone);
scenario_as_ordinary_user!(so_has_an_ordinary_user, || {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let inside_outside: Vec<&str> = map.split_whitespace().take(2).collect();
    assert_eq!(inside_outside[0], "0");
    assert_ne!(inside_outside[1], "0", "this is root: {map}");
    alone();
});
