//! Commands of pages that need a machine: carried out with the cache of the other tests, and compared with what the pages show.

#[path = "../pages/shell.rs"]
mod shell;

use shell::{APART, MACHINE, Shown, apart, carry_out, of_pages};

/// Those commands, with what they stand on in their page: commands before them that need none.
pub fn commands_print_what_the_pages_show() {
    let apart = apart();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (page, shown) in of_pages() {
        let Some(own) = apart.get(&page) else { continue };
        let is_left_out = |one: &Shown| own.get(&one.command).is_some_and(|reason| reason != MACHINE);
        let shown: Vec<Shown> = shown.into_iter().filter(|one| !is_left_out(one)).collect();
        let needs_machine = shown.iter().filter(|one| own.contains_key(&one.command)).count();
        if needs_machine > 0 {
            count += needs_machine;
            wrong.extend(carry_out(&page, &shown, false));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 5, "{count} commands were carried out: {APART} has the others");
}
