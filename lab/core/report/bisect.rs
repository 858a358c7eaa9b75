//! Where behaviour changes along an ordered list: halving between neighbours that are known to differ.
//!
//! Halving finds one change between a good and a bad one, and only one: behaviour that comes and goes between them
//! looks the same from its ends. More known ones in between (`Anchor`s) part the list, and each part with different
//! ends is halved by itself, so a behaviour that is bad only in the middle needs a good one on either side.
//!
//! One failure is followed, that of the first bad one. What behaves neither so nor as the good one (a panic, another check
//! that fails) is no end of a part: it says nothing of this failure, as what cannot be tested.

mod words;

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
    /// It is not known: no boot, a hang, an error, a skip.
    Untestable(String),
}

/// One test, in the order made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its place in the list.
    pub index: usize,
    /// What it is.
    pub class: Class,
}

/// What a tested one is, by the first good and the first bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It behaves as the first good one.
    Good,
    /// It behaves as the first bad one.
    Bad,
    /// It behaves as neither. Those of one number behave alike.
    Other(usize),
    /// It is not known.
    Untestable,
}

/// A good and a bad one without another of these between them, and what lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// The last before the change.
    pub before: usize,
    /// The first after it.
    pub after: usize,
    /// Between the two, and not to be tested.
    pub untestable: Vec<usize>,
    /// Between the two, and tested: neither the good behaviour nor the bad one.
    pub others: Vec<usize>,
    /// Between the two, and not tested: on either side of it is the same other behaviour.
    pub untested: Vec<usize>,
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
    /// One is bad in another way than the first bad one.
    OtherBad {
        /// Its place in the list.
        index: usize,
    },
    /// One of the ends cannot be tested.
    Untestable {
        /// Its place in the list.
        index: usize,
        /// Why.
        why: String,
    },
}

/// The series of stable releases that a kernel is of, by the first two numbers of its version.
pub fn series(version: &str) -> &str {
    let dots = version.match_indices('.');
    dots.map(|(place, _)| place).nth(1).map_or(version, |end| &version[..end])
}

/// What is known, by the place in the list.
type Known = BTreeMap<usize, Class>;

/// What distinguishes the classes.
struct Classes {
    good: String,
    bad: Option<String>,
    others: Vec<String>,
}

impl Classes {
    /// The first that is not good is the bad one: anchors are tested before all else.
    fn of(&mut self, tested: &Tested) -> Class {
        let Tested::Behaves(behaviour) = tested else { return Class::Untestable };
        if *behaviour == self.good {
            Class::Good
        } else if self.bad.get_or_insert_with(|| behaviour.clone()) == behaviour {
            Class::Bad
        } else if let Some(known) = self.others.iter().position(|other| other == behaviour) {
            Class::Other(known)
        } else {
            self.others.push(behaviour.clone());
            Class::Other(self.others.len() - 1)
        }
    }
}

/// Searches a list by testing some of it, or all of it between the outermost anchors. The first good anchor's
/// behaviour is good, the first bad one's is bad. The oracle is asked once for each index, at most.
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
    let mut classes = match oracle(good.index)? {
        Tested::Behaves(behaviour) => Classes { good: behaviour, bad: None, others: Vec::new() },
        Tested::Untestable(why) => return Ok(Err(Refused::Untestable { index: good.index, why })),
    };
    let mut known = Known::from([(good.index, Class::Good)]);
    let mut steps = vec![Step { index: good.index, class: Class::Good }];
    for anchor in anchors.iter().filter(|anchor| anchor.index != good.index) {
        let Anchor { index, is_good } = *anchor;
        let tested = oracle(index)?;
        let class = classes.of(&tested);
        match (class, tested) {
            (_, Tested::Untestable(why)) => return Ok(Err(Refused::Untestable { index, why })),
            (Class::Good, _) if is_good => {}
            (Class::Bad, _) if !is_good => {}
            (Class::Other(_), _) if !is_good => return Ok(Err(Refused::OtherBad { index })),
            _ => return Ok(Err(Refused::Anchor { index, is_good })),
        }
        known.insert(index, class);
        steps.push(Step { index, class });
    }
    while let Some(index) = next(&known, every) {
        let class = classes.of(&oracle(index)?);
        known.insert(index, class);
        steps.push(Step { index, class });
    }
    Ok(Ok(Found { boundaries: boundaries(&known), steps }))
}

/// The good and the bad ones, without all others.
fn ends(known: &Known) -> Vec<(usize, Class)> {
    let all = known.iter().map(|(index, class)| (*index, *class));
    all.filter(|(_, class)| matches!(class, Class::Good | Class::Bad)).collect()
}

/// The untested one nearest to the middle of the first gap that is worth a test: its sides behave differently, and the
/// nearest good and bad ones around it as well.
fn next(known: &Known, every: bool) -> Option<usize> {
    let ends = ends(known);
    let behaving: Vec<(usize, Class)> = known
        .iter()
        .map(|(index, class)| (*index, *class))
        .filter(|(_, class)| *class != Class::Untestable)
        .collect();
    let changes_around = |low: usize, high: usize| {
        let before = ends.iter().rev().find(|(index, _)| *index <= low);
        let after = ends.iter().find(|(index, _)| *index >= high);
        before.map(|(_, class)| class) != after.map(|(_, class)| class)
    };
    behaving.windows(2).find_map(|pair| {
        let [(low, low_class), (high, high_class)] = *pair else { return None };
        if !every && (low_class == high_class || !changes_around(low, high)) {
            return None;
        }
        let untested = (low + 1..high).filter(|index| !known.contains_key(index));
        let middle = low + (high - low) / 2;
        untested.min_by_key(|index| index.abs_diff(middle))
    })
}

fn boundaries(known: &Known) -> Vec<Boundary> {
    let ends = ends(known);
    let changes = ends.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    changes
        .map(|pair| {
            let (before, after) = (pair[0].0, pair[1].0);
            let between = |wanted: fn(Option<&Class>) -> bool| {
                (before + 1..after).filter(|index| wanted(known.get(index))).collect()
            };
            Boundary {
                before,
                after,
                untestable: between(|class| class == Some(&Class::Untestable)),
                others: between(|class| matches!(class, Some(Class::Other(_)))),
                untested: between(|class| class.is_none()),
            }
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
    // A third behaviour is not the failure that is followed: it ends no part, and is reported.
    #[case("aaacccbbb", "g       b", false, "2|6 others 3,4,5", 7)]
    #[case("aaaaaaccccbbbbbb", "g              b", false, "5|10 others 6,7,9 untested 8", 9)]
    #[case("aaaaaaccccbbbbbb", "g              b", true, "5|10 others 6,7,8,9", 16)]
    #[case("acb", "g b", false, "0|2 others 1", 3)]
    #[case("bbbccaaa", "b      g", false, "2|5 others 3,4", 7)]
    #[case("aacdbb", "g    b", false, "1|4 others 2,3", 6)]
    #[case("aac?bb", "g    b", false, "1|4(3) others 2", 6)]
    // One good kernel in the midst of another failure: what is right of it is searched.
    #[case("acaacbb", "g     b", false, "3|5 others 4", 5)]
    // On the way between two good ones, another failure is no change of this one.
    #[case("abbaaacaaa", "gb  g    g", true, "0|1 2|3", 10)]
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
            let list = |word: &str, places: &[usize]| {
                let places: Vec<String> = places.iter().map(usize::to_string).collect();
                if places.is_empty() { String::new() } else { format!(" {word} {}", places.join(",")) }
            };
            let (others, untested) = (list("others", &one.others), list("untested", &one.untested));
            format!("{}|{}{between}{others}{untested}", one.before, one.after)
        });
        assert_eq!(text.collect::<Vec<_>>().join(" "), expected);
        assert_eq!(found.steps.len(), steps, "{:?}", found.steps);
    }

    #[test]
    fn tests_no_more_than_a_few_of_many() {
        let list = "a".repeat(617) + &"b".repeat(407);
        let anchors = format!("g{}b", " ".repeat(1022));
        let found = run(&list, &anchors, false).unwrap();
        let [Boundary { before: 616, after: 617, .. }] = found.boundaries[..] else {
            panic!("{:?}", found.boundaries)
        };
        assert!(found.steps.len() <= 12, "{}", found.steps.len());
    }

    #[test]
    fn another_failure_of_many_kernels_is_halved_as_well() {
        let list = "a".repeat(300) + &"c".repeat(400) + &"b".repeat(324);
        let anchors = format!("g{}b", " ".repeat(1022));
        let found = run(&list, &anchors, false).unwrap();
        let [one] = &found.boundaries[..] else { panic!("{:?}", found.boundaries) };
        assert_eq!((one.before, one.after), (299, 700));
        assert_eq!((one.others.first(), one.others.last()), (Some(&300), Some(&699)));
        assert!(found.steps.len() <= 24, "{}", found.steps.len());
    }

    #[rstest::rstest]
    #[case("6.12.57", "6.12")]
    #[case("5.10.262", "5.10")]
    #[case("7.0", "7.0")]
    fn a_series_is_the_first_two_numbers(#[case] version: &str, #[case] expected: &str) {
        assert_eq!(series(version), expected);
    }

    #[rstest::rstest]
    #[case("aaab", "g   ", Refused::NoEnds)]
    #[case("aaab", "   b", Refused::NoEnds)]
    #[case("aaaa", "g  b", Refused::Anchor { index: 3, is_good: false })]
    #[case("aabb", "g bg", Refused::Anchor { index: 3, is_good: true })]
    #[case("aacb", "g bb", Refused::OtherBad { index: 3 })]
    #[case("?aab", "g  b", Refused::Untestable { index: 0, why: "no boot".into() })]
    #[case("aaa?", "g  b", Refused::Untestable { index: 3, why: "no boot".into() })]
    fn refuses(#[case] list: &str, #[case] anchors: &str, #[case] expected: Refused) {
        assert_eq!(run(list, anchors, false).unwrap_err(), expected);
    }
}
