//! Where behaviour changes along an ordered list: halving between neighbours that are known to differ.
//!
//! Halving finds one change between a good and a bad one, and only one: behaviour that comes and goes between them
//! looks the same from its ends. More known ones in between (`Anchor`s) part the list, and each part with different
//! ends is halved by itself, so a behaviour that is bad only in the middle needs a good one on either side.

use std::collections::BTreeMap;

/// What is known of one of the list before the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Its place in the list.
    pub index: usize,
    /// What the user says it is.
    pub is_good: bool,
}

/// What a test of one found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tested {
    /// It behaves in this way.
    Behaves(String),
    /// It cannot be told: no boot, a hang, an error, a skip.
    Untestable(String),
}

/// One test, in the order made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its place in the list.
    pub index: usize,
    /// Whether it behaves as the first good one; `None` where it cannot be told.
    pub is_good: Option<bool>,
}

/// Two tested neighbours of different behaviour, and what lies between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// The last before the change.
    pub before: usize,
    /// The first after it.
    pub after: usize,
    /// Between the two, and not to be tested.
    pub untestable: Vec<usize>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Every change, in the list's order.
    pub boundaries: Vec<Boundary>,
    /// Each test that was made.
    pub steps: Vec<Step>,
}

/// Why there was nothing to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There has to be at least one of each.
    NoEnds,
    /// One is not what the user says.
    Anchor {
        /// Its place in the list.
        index: usize,
        /// What was said.
        is_good: bool,
    },
    /// One of the ends cannot be tested.
    Untestable {
        /// Its place in the list.
        index: usize,
        /// Why.
        why: String,
    },
}

/// Searches a list by testing some of it, or all of it between the outermost anchors. The first good anchor's
/// behaviour is good; every other is bad. The oracle is asked once for each index, at most.
///
/// # Errors
/// [`Refused`] when the anchors contradict what is found, and what the oracle returns as an error.
pub fn search<E>(
    anchors: &[Anchor],
    every: bool,
    mut oracle: impl FnMut(usize) -> Result<Tested, E>,
) -> Result<Result<Found, Refused>, E> {
    let Some(good) = anchors.iter().find(|anchor| anchor.is_good) else { return Ok(Err(Refused::NoEnds)) };
    if anchors.iter().all(|anchor| anchor.is_good) {
        return Ok(Err(Refused::NoEnds));
    }
    let wanted = match oracle(good.index)? {
        Tested::Behaves(behaviour) => behaviour,
        Tested::Untestable(why) => return Ok(Err(Refused::Untestable { index: good.index, why })),
    };
    let mut known = BTreeMap::from([(good.index, Some(true))]);
    let mut steps = vec![Step { index: good.index, is_good: Some(true) }];
    let mut test = |index: usize, known: &mut BTreeMap<usize, Option<bool>>| -> Result<Tested, E> {
        let tested = oracle(index)?;
        let is_good = match &tested {
            Tested::Behaves(behaviour) => Some(*behaviour == wanted),
            Tested::Untestable(_) => None,
        };
        known.insert(index, is_good);
        steps.push(Step { index, is_good });
        Ok(tested)
    };
    for anchor in anchors.iter().filter(|anchor| anchor.index != good.index) {
        if let Tested::Untestable(why) = test(anchor.index, &mut known)? {
            return Ok(Err(Refused::Untestable { index: anchor.index, why }));
        }
        if known[&anchor.index] != Some(anchor.is_good) {
            return Ok(Err(Refused::Anchor { index: anchor.index, is_good: anchor.is_good }));
        }
    }
    while let Some(index) = next(&known, every) {
        test(index, &mut known)?;
    }
    Ok(Ok(Found { boundaries: boundaries(&known), steps }))
}

/// Neighbours among those that could be tested.
fn testable(known: &BTreeMap<usize, Option<bool>>) -> Vec<(usize, bool)> {
    known.iter().filter_map(|(index, is_good)| Some((*index, (*is_good)?))).collect()
}

/// The untested one nearest to the middle of the first gap that is worth a test.
fn next(known: &BTreeMap<usize, Option<bool>>, every: bool) -> Option<usize> {
    testable(known).windows(2).find_map(|pair| {
        let [(low, low_good), (high, high_good)] = *pair else { return None };
        if low_good == high_good && !every {
            return None;
        }
        let untested = (low + 1..high).filter(|index| !known.contains_key(index));
        let middle = low + (high - low) / 2;
        untested.min_by_key(|index| index.abs_diff(middle))
    })
}

fn boundaries(known: &BTreeMap<usize, Option<bool>>) -> Vec<Boundary> {
    let changes = testable(known);
    let changes = changes.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    changes
        .map(|pair| {
            let (before, after) = (pair[0].0, pair[1].0);
            Boundary { before, after, untestable: (before + 1..after).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list by letters: the same letter is the same behaviour, `?` is not to be tested.
    fn run(list: &str, anchors: &str, every: bool) -> Result<Found, Refused> {
        let known = anchors.char_indices().filter(|(_, c)| *c != ' ');
        let anchors: Vec<Anchor> = known.map(|(index, c)| Anchor { index, is_good: c == 'g' }).collect();
        let mut asked = Vec::new();
        let found = search(&anchors, every, |index| -> Result<Tested, ()> {
            assert!(!asked.contains(&index), "{index} is tested twice");
            asked.push(index);
            Ok(match &list[index..=index] {
                "?" => Tested::Untestable("no boot".into()),
                letter => Tested::Behaves(letter.into()),
            })
        });
        found.expect("the oracle does not fail")
    }

    #[rstest::rstest]
    #[case("aaaaaaaabbbbbbbb", "g              b", false, "7|8", 6)]
    #[case("aaaaaaaaaaaaaaab", "g              b", false, "14|15", 6)]
    #[case("ab", "gb", false, "0|1", 2)]
    #[case("bbba", "b  g", false, "2|3", 4)]
    #[case("aaabbbbaaa", "g   b    g", false, "2|3 6|7", 7)]
    // Halving sees one of three changes; testing each sees all.
    #[case("aaabbbaaabbb", "g          b", false, "2|3", 5)]
    #[case("aaabbbaaabbb", "g          b", true, "2|3 5|6 8|9", 12)]
    // A third behaviour is not the good one.
    #[case("aaacccbbb", "g       b", false, "2|3", 5)]
    #[case("aa???bb", "g     b", false, "1|5(2,3,4)", 7)]
    #[case("aaa?bbb", "g     b", false, "2|4(3)", 5)]
    fn finds(
        #[case] list: &str,
        #[case] anchors: &str,
        #[case] every: bool,
        #[case] expected: &str,
        #[case] steps: usize,
    ) {
        let found = run(list, anchors, every).unwrap();
        let text = found.boundaries.iter().map(|one| {
            let between: Vec<String> = one.untestable.iter().map(usize::to_string).collect();
            let between = if between.is_empty() { String::new() } else { format!("({})", between.join(",")) };
            format!("{}|{}{between}", one.before, one.after)
        });
        assert_eq!(text.collect::<Vec<_>>().join(" "), expected);
        assert_eq!(found.steps.len(), steps, "{:?}", found.steps);
    }

    #[test]
    fn tests_no_more_than_a_few_of_many() {
        let list = "a".repeat(617) + &"b".repeat(407);
        let anchors = format!("g{}b", " ".repeat(1022));
        let found = run(&list, &anchors, false).unwrap();
        assert_eq!(found.boundaries, [Boundary { before: 616, after: 617, untestable: Vec::new() }]);
        assert!(found.steps.len() <= 12, "{}", found.steps.len());
    }

    #[rstest::rstest]
    #[case("aaab", "g   ", Refused::NoEnds)]
    #[case("aaab", "   b", Refused::NoEnds)]
    #[case("aaaa", "g  b", Refused::Anchor { index: 3, is_good: false })]
    #[case("aabb", "g bg", Refused::Anchor { index: 3, is_good: true })]
    #[case("?aab", "g  b", Refused::Untestable { index: 0, why: "no boot".into() })]
    #[case("aaa?", "g  b", Refused::Untestable { index: 3, why: "no boot".into() })]
    fn refuses(#[case] list: &str, #[case] anchors: &str, #[case] expected: Refused) {
        assert_eq!(run(list, anchors, false).unwrap_err(), expected);
    }
}
