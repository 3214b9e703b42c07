//! Examples of policies: calls whose verdict whoever wrote the policy knows, held against what would be decided.

use std::collections::BTreeSet;

use crate::input::Request;
use crate::model::{Cwd, Who};
use crate::set::{Denial, Fault, Loaded, Policies};
use crate::told::told;

impl Policies {
    /// Every example that is decided otherwise than it says.
    pub(crate) fn examples(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for policy in &self.all {
            let examples = &policy.policy.examples;
            for (wanted, word, list) in
                [(true, "allow", &examples.allow), (false, "deny", &examples.deny)]
            {
                for (at, args) in list.iter().enumerate() {
                    faults.extend(self.example(policy, wanted, args).map(|message| Fault {
                        policy: policy.name.clone(),
                        key: format!("examples.{word}.{at}"),
                        message,
                    }));
                }
            }
        }
        faults
    }

    /// Why an example is decided otherwise than it says.
    fn example(&self, policy: &Loaded, wanted: bool, args: &[String]) -> Option<String> {
        let texts: Vec<&str> = args.iter().map(String::as_str).collect();
        let request = Request::policy(&policy.name, &texts);
        let verdict = match request.checked() {
            Err(denied) => Err(denied.reason),
            Ok(args) => self.arguments(policy, &request, &args),
        };
        match (wanted, verdict) {
            (true, Err(why)) => Some(format!("this example must be allowed, but is denied: {why}")),
            (false, Ok(rule)) => {
                Some(format!("this example must be denied, but rule `{rule}` allows it"))
            }
            _ => None,
        }
    }

    /// The rule of a policy that allows arguments to everybody for whom it is.
    fn arguments<'a>(
        &'a self,
        policy: &'a Loaded,
        request: &Request,
        args: &[&str],
    ) -> Result<&'a str, String> {
        let program = &policy.policy.program;
        let (Cwd::Fixed(base) | Cwd::Beneath(base)) = &policy.policy.cwd;
        // Of the other policies of the program only those count that are for all whom this one is for.
        let others =
            self.of_program(program).filter(|other| covers(&other.policy.who, &policy.policy.who));
        let denies: Vec<&Denial> = others.flat_map(|other| &other.denies).collect();
        let mut reason = None;
        let mut found = None;
        for rule in policy.rules_for(args) {
            match rule.read(args, base) {
                Ok(matched) => {
                    if let Some(deny) = denies.iter().find(|deny| deny.is_hit(rule, &matched, args))
                    {
                        return Err(format!("rule `{}` denies it", deny.id));
                    }
                    found = found.or(Some(rule.id.as_str()));
                }
                Err(refused) if found.is_none() => {
                    let veils = self.veils(&request.target);
                    reason = Some(told(&refused, rule, program, args, &veils).reason);
                }
                Err(_) => {}
            }
        }
        found.ok_or_else(|| reason.unwrap_or_else(|| "it has no rule that allows anything".into()))
    }
}

/// Everybody of `one` is of `all` too, as far as that can be told without knowing who is in which group.
fn covers(all: &Who, one: &Who) -> bool {
    fn holds<T: Ord>(all: &[T], one: &[T]) -> bool {
        let all: BTreeSet<_> = all.iter().collect();
        one.iter().all(|id| all.contains(id))
    }
    let is_owner = |who: &Who| who == &Who::default();
    all == one
        || (!is_owner(one)
            && !is_owner(all)
            && holds(&all.uids, &one.uids)
            && holds(&all.gids, &one.gids)
            && holds(&all.tokens, &one.tokens))
}
