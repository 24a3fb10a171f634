use super::*;

#[test]
fn durations_are_rounded_down_to_what_people_say() {
    for (seconds, text) in
        [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 days")]
    {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn the_worst_level_is_the_greatest() {
    assert!(Level::Error > Level::Warning && Level::Warning > Level::Info && Level::Info > Level::Ok);
}
