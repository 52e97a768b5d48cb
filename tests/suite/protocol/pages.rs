//! Pages: what an inbox's memberships are, as the server writes them into the inbox for the owner to compare.

use std::collections::BTreeMap;

use super::ledger::Dice;
use super::{Owner, Shard};
use crate::support::{Change, Page, Place};

const INBOX: &str = "in.box!";
const HOUR: u64 = 3_600_000;

/// Group, end and address: the order of memberships.
type Member = (String, u64, String);

async fn join_until(shard: &Shard, members: &[(&str, &str, u64)]) {
    for some in members.chunks(200) {
        let join = |change: Change, (group, address, end): &(&str, &str, u64)| {
            change.join_unless_in(group, address, *end)
        };
        let done = shard.change(&some.iter().fold(Change::of(INBOX), join)).await.unwrap();
        assert_eq!(done.failures, []);
    }
}

/// All pages of a walk. Between two of them something may happen.
async fn walk(shard: &Shard, owner: &mut Owner, mut between: impl AsyncFnMut()) -> Vec<Page> {
    let (mut from, mut pages) = (Place::default(), Vec::new());
    owner.read_all().await;
    loop {
        let page = owner.page(shard, &from).await;
        from = page.to.clone();
        pages.push(page);
        if from.group.is_empty() {
            return pages;
        }
        between().await;
        owner.read_all().await;
    }
}

fn members(page: &Page) -> Vec<Member> {
    let of_group = |(group, _, members): &(String, bool, Vec<(String, u64)>)| {
        members.iter().map(|(address, end)| (group.clone(), *end, address.clone())).collect::<Vec<_>>()
    };
    page.groups.iter().flat_map(of_group).collect()
}

/// Whether a membership stands behind a place.
fn is_behind(place: &Place, (group, end, address): &Member) -> bool {
    match place.end.parse::<u64>() {
        _ if group != &place.group => *group > place.group,
        Ok(place_end) => (*end, address) > (place_end, &place.address),
        Err(_) => false,
    }
}

fn is_covered(page: &Page, member: &Member) -> bool {
    is_behind(&page.from, member) && (page.to.group.is_empty() || !is_behind(&page.to, member))
}

/// Shows R38.
#[tokio::test]
async fn a_page_lists_groups_by_name_and_members_by_end_and_address_at_its_point_of_the_log() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    shard.change(&Change::of("other!").join("hall", "z", HOUR)).await;
    let all = [("room", "c", end), ("room", "b", end), ("room", "a", end + 1), ("hall", "b", end + 2)];
    join_until(&shard, &all).await;
    shard.change(&owner.change().leave("room", "absent")).await;
    let tag = owner.tag();
    let call = owner.next_call();
    let before = shard.time().await;
    let written = shard.inbox_page(INBOX, owner.id(), call, &Place::default()).await.unwrap();
    assert!((before..=shard.time().await).contains(&written));
    shard.change(&Change::of(INBOX).leave("room", "c")).await;
    let texts = owner.read_all().await;
    let page = format!("w2 {tag} {call} >   <   :hall 1 b {} :room 1 b {end} c {end} a {}", end + 2, end + 1);
    assert_eq!(texts[2..], [page, "c3 : -room c".to_owned()]);
    assert_eq!(shard.inbox_page("unknown!", owner.id(), 9, &Place::default()).await, None);
    assert_eq!(shard.inbox_page(INBOX, "another", 9, &Place::default()).await, None);
    assert!(!shard.exists('q', "unknown!").await && shard.length(INBOX).await == 0);
}

#[tokio::test]
async fn a_page_of_an_inbox_without_groups_covers_all() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let call = owner.next_call();
    shard.inbox_page(INBOX, owner.id(), call, &Place::default()).await.unwrap();
    assert_eq!(owner.read_all().await, [format!("w0 : {call} >   <  ")]);
}

#[tokio::test]
async fn a_page_tells_of_which_groups_the_other_keys_are_gone() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let groups = ["a", "b", "c", "d", "e", "f"];
    let join = |change: Change, group: &&str| change.join(group, "x", HOUR);
    shard.change(&groups.iter().fold(owner.change(), join)).await;
    shard.command(&["DEL", &shard.key('d', "b")]).await;
    shard.command(&["DEL", &shard.key('g', "c")]).await;
    shard.command(&["DEL", &shard.key('m', "d in.box!")]).await;
    shard.command(&["SET", &shard.key('d', "e"), "text"]).await;
    shard.command(&["SET", &shard.key('g', "f"), "text"]).await;
    owner.read_all().await;
    let page = owner.page(&shard, &Place::default()).await;
    let told: Vec<(&str, bool, usize)> =
        page.groups.iter().map(|(group, is_whole, members)| (&**group, *is_whole, members.len())).collect();
    assert_eq!(
        told,
        [("a", true, 1), ("b", false, 1), ("c", false, 1), ("d", true, 0), ("e", false, 1), ("f", false, 1)]
    );
}

#[tokio::test]
async fn a_page_begins_behind_a_group_or_behind_a_member_or_with_its_end_if_that_one_has_left() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    let all = [
        ("a", "x", end),
        ("b", "k", end),
        ("b", "l", end + 1),
        ("b", "m", end + 1),
        ("b", "n", end + 2),
        ("c", "x", end),
    ];
    join_until(&shard, &all).await;
    owner.read_all().await;
    let names = |page: &Page| {
        members(page).into_iter().map(|(group, _, address)| group + &address).collect::<Vec<_>>()
    };
    let page = owner.page(&shard, &Place::new("a", "", "")).await;
    assert_eq!(
        (names(&page), page.from),
        (["bk", "bl", "bm", "bn", "cx"].map(str::to_owned).to_vec(), Place::new("a", "", ""))
    );
    let at = Place::new("b", end + 1, "l");
    let page = owner.page(&shard, &at).await;
    assert_eq!((names(&page), &page.from), (["bm", "bn", "cx"].map(str::to_owned).to_vec(), &at));
    shard.change(&owner.change().leave("b", "l")).await;
    owner.read_all().await;
    let page = owner.page(&shard, &at).await;
    assert_eq!(
        (names(&page), &page.from),
        (["bm", "bn", "cx"].map(str::to_owned).to_vec(), &Place::new("b", end + 1, ""))
    );
    // It stays for longer now, and so has no place there any more.
    let seen = Place::new("b", end + 1, "m");
    shard.change(&owner.change().set_end("b", "m", end + 5, end + 1)).await;
    owner.read_all().await;
    let page = owner.page(&shard, &seen).await;
    assert_eq!(names(&page), ["bn", "bm", "cx"]);
    let page = owner.page(&shard, &Place::new("gone", "5", "x")).await;
    assert_eq!((names(&page), page.groups[0].1, page.to), (vec![], false, Place::default()));
}

#[tokio::test]
async fn wherever_a_page_ends_the_next_one_goes_on_there() {
    let shard = Shard::new().await;
    for first in 1..=6 {
        let inbox = Shard::beside(&shard, &format!("{}{first}:", shard.prefix())).await;
        let mut owner = Owner::new(&inbox, INBOX).await;
        let end = shard.time_ms().await + HOUR;
        let addresses: Vec<String> = (0..first).map(|number| format!("a{number}")).collect();
        let groups: Vec<String> = (0..520).map(|number| format!("room{number:03}")).collect();
        let mut all: Vec<(&str, &str, u64)> =
            addresses.iter().map(|address| ("hall", &**address, end)).collect();
        all.extend(groups.iter().map(|group| (&**group, "x", end)));
        join_until(&inbox, &all).await;
        let pages = walk(&inbox, &mut owner, async || ()).await;
        let listed: Vec<Member> = pages.iter().flat_map(members).collect();
        let due: Vec<Member> = all
            .iter()
            .map(|(group, address, end)| ((*group).to_owned(), *end, (*address).to_owned()))
            .collect();
        assert!(listed == due, "{first}: {} of {}", listed.len(), due.len());
        assert_eq!(pages.len(), 3);
    }
}

/// Shows R38.
#[tokio::test]
async fn a_group_of_many_members_comes_in_several_pages_that_are_bounded() {
    let shard = Shard::new().await;
    let mut owner = Owner::new(&shard, INBOX).await;
    let end = shard.time_ms().await + HOUR;
    let addresses: Vec<String> = (0..1300).map(|number| format!("a{number:04}")).collect();
    let mut all: Vec<(&str, &str, u64)> =
        addresses.iter().zip(0..).map(|(address, number)| ("room", &**address, end + number / 700)).collect();
    all.extend([("hall", "x", end), ("stairs", "x", end)]);
    join_until(&shard, &all).await;
    let pages = walk(&shard, &mut owner, async || ()).await;
    assert_eq!(pages.len(), 3);
    let mut listed = Vec::new();
    for page in &pages {
        assert!(members(page).len() <= 500, "{}", members(page).len());
        assert!(members(page).iter().all(|member| is_covered(page, member)));
        listed.extend(members(page));
    }
    assert!(listed.is_sorted());
    listed.dedup();
    assert_eq!(listed.len(), 1302);
}

/// Who is in all the while is listed, with its end, and what the pages cover leaves no gap.
/// Shows R38.
#[tokio::test]
async fn nothing_is_missed_or_doubled_while_members_come_and_go() {
    for seed in 1..=6 {
        let shard = Shard::new().await;
        let mut owner = Owner::new(&shard, INBOX).await;
        let mut dice = Dice(seed);
        let end = shard.time_ms().await + HOUR;
        let name = |dice: &mut Dice| {
            let group = ["attic", "hall", "room", "zoo"][dice.index(4)];
            (
                group.to_owned(),
                format!("a{:03}", dice.index(600)),
                end + u64::try_from(dice.index(40)).unwrap(),
            )
        };
        let mut stay: BTreeMap<(String, String), u64> = BTreeMap::new();
        for _ in 0..1500 {
            let (group, address, end) = name(&mut dice);
            stay.entry((group, address)).or_insert(end);
        }
        let all: Vec<(&str, &str, u64)> =
            stay.iter().map(|((group, address), end)| (&**group, &**address, *end)).collect();
        join_until(&shard, &all).await;
        let pages = walk(&shard, &mut owner, async || {
            let mut change = Change::of(INBOX);
            for _ in 0..90 {
                let (group, address, end) = name(&mut dice);
                if stay.contains_key(&(group.clone(), address.clone())) && !dice.one_in(3) {
                    continue;
                }
                stay.remove(&(group.clone(), address.clone()));
                change = match dice.one_in(2) {
                    true => change.leave(&group, &address),
                    false => change.leave(&group, &address).join_unless_in(&group, &address, end),
                };
            }
            shard.change(&change.leave("room", "nobody")).await;
        })
        .await;
        assert!(pages.len() >= 3, "seed {seed}");
        // Each page stands in for its range, as in an owner's mirror.
        let mut mirror: Vec<Member> = Vec::new();
        for pair in pages.windows(2) {
            assert!(pair[0].to == pair[1].from || pair[1].from.address.is_empty(), "seed {seed}");
        }
        for page in &pages {
            let listed = members(page);
            assert!(
                listed.is_sorted() && listed.iter().all(|member| is_covered(page, member)),
                "seed {seed}"
            );
            mirror.retain(|member| !is_covered(page, member));
            mirror.extend(listed);
        }
        for ((group, address), end) in &stay {
            let times = mirror
                .iter()
                .filter(|(in_group, to, who)| (in_group, to, who) == (group, end, address))
                .count();
            assert_eq!(times, 1, "seed {seed}: {group} {address}");
        }
        assert!(stay.len() > 500, "seed {seed}: {}", stay.len());
    }
}
