use super::*;
use proptest::prelude::*;

#[test]
fn scale_and_sack_are_found_among_others() {
    let h = header(&[
        2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7,
    ]);
    let want = SynOptions {
        window_scale: Some(7),
        sack_permitted: true,
    };
    assert_eq!(syn_options(&h), want);
}

#[test]
fn a_shift_beyond_14_is_14() {
    assert_eq!(syn_options(&header(&[3, 3, 200])).window_scale, Some(14));
}

#[test]
fn malformed_lists_end_where_they_break() {
    let none = SynOptions::default();
    for options in [
        &[][..],
        &[0, 3, 3, 7],    // after the end of the list
        &[3, 0, 7, 0],    // a length of 0
        &[3, 1, 7, 0],    // of 1
        &[3, 4, 7, 0],    // of another option
        &[4, 3, 0, 0],    // of another option
        &[2, 40, 5, 180], // beyond the header
        &[1, 1, 1, 3],    // no room for a length
    ] {
        assert_eq!(syn_options(&header(options)), none, "{options:?}");
    }
    assert_eq!(syn_options(&header(&[3, 3, 9, 3, 0])).window_scale, Some(9));
}

#[test]
fn the_header_length_bounds_the_list() {
    let mut h = header(&[1, 1, 1, 1]);
    h.extend_from_slice(&[3, 3, 7, 0]);
    assert_eq!(syn_options(&h), SynOptions::default(), "that is payload");
    let mut short = header(&[3, 3, 7, 1]);
    short[12] = 0xf0;
    assert_eq!(syn_options(&short).window_scale, Some(7), "truncated");
    assert_eq!(syn_options(&[]), SynOptions::default());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let found = syn_options(&bytes);
        prop_assert!(found.window_scale.is_none_or(|s| s <= 14));
    }
}
