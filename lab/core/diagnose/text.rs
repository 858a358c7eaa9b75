//! A diagnosis for a terminal.

use std::fmt::Write;

use crate::diagnose::{Diagnosis, Place};
use crate::net::clean;

/// As many causes are shown.
const CAUSES_SHOWN: usize = 10;
/// As many names in one line.
const NAMES_SHOWN: usize = 6;

/// What the text shows against a cause.
fn against(place: &Place) -> String {
    if place.against.is_empty() {
        return String::new();
    }
    format!("  against it: {}", place.against.join("; "))
}

impl Diagnosis {
    /// The text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let devices = [
            self.devices.vlan.as_ref().map(|vlan| format!("VLAN {vlan}")),
            self.devices.bond.as_ref().map(|bond| format!("bond {bond}")),
            (!self.devices.ports.is_empty()).then(|| format!("port {}", self.devices.ports.join(", "))),
        ];
        let stack: Vec<String> = devices.into_iter().flatten().collect();
        let kernel = self
            .kernel
            .as_deref()
            .map_or("a kernel that the text does not name".into(), |kernel| format!("Linux {kernel}"));
        let _ = writeln!(out, "{} on {kernel}", stack.join(", "));
        self.ranks_text(&mut out);
        self.evidence_text(&mut out);
        self.missing_text(&mut out);
        self.commands_text(&mut out);
        if !self.impossible.is_empty() {
            let _ = writeln!(
                out,
                "\n{} causes are none of this machine and kernel (--format json lists them).",
                self.impossible.len()
            );
        }
        clean::lines(&out).into_owned()
    }

    fn ranks_text(&self, out: &mut String) {
        if !self.is_enough {
            return self.equals_text(out);
        }
        let best = self.ranks.first().map_or(0.0, |place| place.weight);
        let worth = self.ranks.iter().take_while(|place| place.weight >= best / 100.0);
        let shown = worth.take(CAUSES_SHOWN);
        let _ = writeln!(out, "\nCauses, by what was measured of each on the nearest kernels:");
        for (at, place) in shown.enumerate() {
            let share = place.share.unwrap_or_default() * 100.0;
            let _ = writeln!(out, "  {:>2}. {share:>3.0} %  {}{}", at + 1, place.cause, against(place));
        }
        if self.leaders > CAUSES_SHOWN {
            let _ = writeln!(out, "  and {} more", self.leaders - CAUSES_SHOWN);
        }
        match (self.leaders, self.ranks.first()) {
            (1, Some(first)) => {
                let about = first.about.split_whitespace().collect::<Vec<_>>().join(" ");
                let _ = writeln!(out, "\n{}: {about}", first.cause);
            }
            (leaders, Some(_)) if leaders > 1 => {
                let _ = writeln!(out, "\nThe first {leaders} are not told apart by what the text shows.");
            }
            _ => {}
        }
    }

    /// Without enough evidence no cause has a share: which ones the text leaves, and which it speaks against.
    fn equals_text(&self, out: &mut String) {
        let Some(best) = self.ranks.first().map(|place| place.weight) else { return };
        let is_equal = |place: &&Place| place.weight >= best * (1.0 - 1e-9);
        let equal: Vec<&Place> = self.ranks.iter().take_while(is_equal).collect();
        let _ = match equal[..] {
            [one] => writeln!(
                out,
                "\nNearest to what the text shows, and not enough for an answer:\n  {}{}",
                one.cause,
                against(one)
            ),
            _ => writeln!(out, "\nAs likely as each other by what the text shows, {} causes:", equal.len()),
        };
        if equal.len() > 1 {
            let shared = against(equal[0]);
            for names in equal.chunks(NAMES_SHOWN) {
                let names: Vec<&str> = names.iter().map(|place| place.cause.as_str()).collect();
                let _ = writeln!(out, "  {}", names.join(", "));
            }
            if !shared.is_empty() {
                let _ = writeln!(out, " {shared}");
            }
        }
        let others: Vec<&Place> = self.ranks[equal.len()..self.leaders.max(equal.len())].iter().collect();
        if !others.is_empty() {
            let _ = writeln!(out, "Less likely than these, and not ruled out:");
        }
        for place in others.iter().take(CAUSES_SHOWN) {
            let _ = writeln!(out, "  {}{}", place.cause, against(place));
        }
        if others.len() > CAUSES_SHOWN {
            let _ = writeln!(out, "  and {} more", others.len() - CAUSES_SHOWN);
        }
    }

    fn evidence_text(&self, out: &mut String) {
        if !self.deciding.is_empty() {
            let _ = writeln!(
                out,
                "\nWhat decided, and how many of {} causes were measured to look otherwise:",
                self.ranks.len()
            );
        }
        for deciding in &self.deciding {
            let _ = writeln!(out, "  {:>3}  {}", deciding.against, deciding.shown);
        }
        if !self.undecided.is_empty() {
            let _ = writeln!(out, "Shown too, and as likely under each: {}", self.undecided.join("; "));
        }
    }

    fn missing_text(&self, out: &mut String) {
        if self.is_enough {
            return;
        }
        let _ = writeln!(out, "\nThe evidence is not enough:");
        for line in &self.missing {
            let _ = writeln!(out, "  {line}");
        }
    }

    fn commands_text(&self, out: &mut String) {
        if self.commands.is_empty() {
            return;
        }
        let _ = writeln!(out, "\nWhat would tell the rest apart; `#` is the answer under each cause:");
        for next in &self.commands {
            let _ = writeln!(out, "  {}", next.command);
            for (answer, causes) in &next.answers {
                let more = causes.len().saturating_sub(NAMES_SHOWN);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let names = causes.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>();
                let _ = writeln!(out, "    # {answer}: {}{more}", names.join(", "));
            }
        }
    }
}
