//! What a search found, in words. Kernels are named by the caller's list.

use crate::report::bisect::{Boundary, Class, Found, series};

impl Boundary {
    /// Where the behaviour changes, and whether its two sides are of one stable series.
    pub fn headline(&self, ids: &[String]) -> String {
        let (before, after) = (&ids[self.before], &ids[self.after]);
        let mut text = format!("the behaviour changes between {before} and {after} ({before} | {after}):\n");
        let (earlier, later) = (series(before), series(after));
        // A kernel of the user's own may be named in any way, and its name says nothing of its series.
        let are_versions =
            [before, after].iter().all(|id| id.starts_with(|first: char| first.is_ascii_digit()));
        if are_versions && earlier != later {
            text += &format!(
                "    the two are of two stable series, {earlier} and {later}: a change of one may be in the other by a \
                 backport\n"
            );
        }
        text
    }

    /// What lies between its two sides.
    pub fn between(&self, ids: &[String]) -> String {
        let lines = [
            ("between them, and not to be tested", &self.untestable),
            ("between them, and neither", &self.others),
            ("between those, and not tested", &self.untested),
        ];
        let lines = lines.iter().filter(|(_, places)| !places.is_empty());
        lines.map(|(what, places)| format!("    {what}: {}\n", names(ids, places))).collect()
    }
}

impl Found {
    /// Kernels that behave neither as the good one nor as the bad one: those that behave alike together, in the list's order.
    pub fn others(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for step in &self.steps {
            if let Class::Other(number) = step.class {
                groups.resize_with(groups.len().max(number + 1), Vec::new);
                groups[number].push(step.index);
            }
        }
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups
    }

    /// The headline of one group of [`Found::others`].
    pub fn other_headline(group: &[usize], ids: &[String]) -> String {
        format!("not as the good one, and not this failure: {}:\n", names(ids, group))
    }

    /// How many were tested; and `command`, which tests them all, where some were not: halving does not see behaviour that
    /// comes and goes between two that behave alike.
    pub fn tested(&self, ids: &[String], command: &str) -> String {
        let (tested, all) = (self.steps.len(), ids.len());
        let mut text = format!("{tested} of {all} kernels were tested\n");
        if tested < all {
            text += &format!(
                "behaviour that comes and goes among those that were not is found by:\n  {command}\n"
            );
        }
        text
    }
}

fn names(ids: &[String], places: &[usize]) -> String {
    places.iter().map(|place| ids[*place].as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::report::bisect::{Anchor, Boundary, Found, Tested, search};

    const KERNELS: [&str; 7] = ["5.10.262", "6.1.192", "6.12.57", "6.12.69", "6.12.117", "6.18.15", "7.3.4"];

    /// A runner that knows what each kernel does: a letter for each behaviour, `?` for no result. The ends are as the user
    /// says.
    fn found(behaviours: &str, every: bool) -> String {
        let ids = KERNELS.map(str::to_owned);
        let anchors = [(0, true), (ids.len() - 1, false)];
        let anchors = anchors.map(|(index, is_good)| Anchor { index, is_good });
        let found = search(&anchors, every, |index| -> Result<Tested, ()> {
            Ok(match &behaviours[index..=index] {
                "?" => Tested::Untestable("no boot".into()),
                letter => Tested::Behaves(letter.into()),
            })
        });
        let found = found.expect("the runner does not fail").expect("the ends are right");
        let mut text = String::new();
        for boundary in &found.boundaries {
            text += &(boundary.headline(&ids) + &boundary.between(&ids));
        }
        for group in found.others() {
            text += &Found::other_headline(&group, &ids);
        }
        text + &found.tested(&ids, "COMMAND")
    }

    #[test]
    fn a_change_within_one_series_is_one_of_that_series() {
        assert_eq!(
            found("aaaabbb", false),
            "the behaviour changes between 6.12.69 and 6.12.117 (6.12.69 | 6.12.117):\n\
             4 of 7 kernels were tested\n\
             behaviour that comes and goes among those that were not is found by:\n  COMMAND\n"
        );
    }

    #[test]
    fn a_kernel_that_fails_otherwise_is_reported_and_the_search_goes_on() {
        assert_eq!(
            found("aaacbbb", false),
            "the behaviour changes between 6.12.57 and 6.12.117 (6.12.57 | 6.12.117):\n    \
             between them, and neither: 6.12.69\n\
             not as the good one, and not this failure: 6.12.69:\n\
             6 of 7 kernels were tested\n\
             behaviour that comes and goes among those that were not is found by:\n  COMMAND\n"
        );
    }

    #[test]
    fn neighbours_of_two_series_are_named_as_that() {
        assert_eq!(
            found("aac?dbb", true),
            "the behaviour changes between 6.1.192 and 6.18.15 (6.1.192 | 6.18.15):\n    \
             the two are of two stable series, 6.1 and 6.18: a change of one may be in the other by a backport\n    \
             between them, and not to be tested: 6.12.69\n    \
             between them, and neither: 6.12.57, 6.12.117\n\
             not as the good one, and not this failure: 6.12.57:\n\
             not as the good one, and not this failure: 6.12.117:\n\
             7 of 7 kernels were tested\n"
        );
    }

    #[test]
    fn a_name_of_a_kernel_of_the_users_own_is_no_series() {
        let none = Vec::new;
        let boundary = Boundary { before: 0, after: 1, untestable: none(), others: none(), untested: none() };
        for ids in [["older", "newer"], ["5.10.262", "newer"], ["older", "7.3.4"]] {
            let [before, after] = ids;
            let expected =
                format!("the behaviour changes between {before} and {after} ({before} | {after}):\n");
            assert_eq!(boundary.headline(&ids.map(str::to_owned)), expected);
        }
    }

    #[test]
    fn an_island_is_pointed_at_by_halving_and_found_by_testing_each() {
        let halved = found("abbaaab", false);
        assert!(halved.contains("comes and goes") && halved.contains("COMMAND"), "{halved}");
        let all = found("abbaaab", true);
        let changes: Vec<&str> = all.lines().filter(|line| line.starts_with("the behaviour")).collect();
        assert_eq!(changes.len(), 3, "{all}");
        assert!(!all.contains("COMMAND"), "{all}");
    }
}
