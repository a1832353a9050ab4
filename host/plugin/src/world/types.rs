//! Whether two interfaces fit, by the structure of their types, and where they do not, in words.
//!
//! In: the interface as this host serves it, the interface as a component has it. Out: nothing, or the
//! first difference: function, parameter, field, case.

use wit_parser::{Function, FunctionKind, InterfaceId, Resolve, Type, TypeDefKind};

/// Every function that the host calls is there, with its types.
pub(super) fn exports_fit(
    served: &Resolve,
    wanted: InterfaceId,
    found: &Resolve,
    own: InterfaceId,
) -> Result<(), String> {
    for (name, function) in &served.interfaces[wanted].functions {
        let there =
            found.interfaces[own].functions.get(name).ok_or_else(|| format!("the function `{name}` is missing"))?;
        function_fits(served, function, found, there)?;
    }
    Ok(())
}

/// Every function that the component imports is offered, with its types.
pub(super) fn imports_fit(
    served: &Resolve,
    offer: InterfaceId,
    found: &Resolve,
    own: InterfaceId,
) -> Result<(), String> {
    for (name, function) in &found.interfaces[own].functions {
        let offered = served.interfaces[offer].functions.get(name).ok_or_else(|| {
            format!("the function `{}` is unknown to this host; it may be newer than the host", super::clean(name))
        })?;
        function_fits(served, offered, found, function)?;
    }
    Ok(())
}

fn function_fits(served: &Resolve, wanted: &Function, found: &Resolve, own: &Function) -> Result<(), String> {
    let name = &wanted.name;
    if own.kind != FunctionKind::Freestanding {
        return Err(format!("`{name}` is an async function or a method; a plain function is expected"));
    }
    if wanted.params.len() != own.params.len() {
        return Err(format!("`{name}` has {} parameters, expected {}", own.params.len(), wanted.params.len()));
    }
    for (wanted, own) in wanted.params.iter().zip(&own.params) {
        if wanted.name != own.name {
            return Err(format!("`{name}` has a parameter `{}`, expected `{}`", super::clean(&own.name), wanted.name));
        }
        type_fits(served, &wanted.ty, found, &own.ty)
            .map_err(|what| format!("`{name}`, parameter `{}`: {what}", wanted.name))?;
    }
    optional_fits(served, wanted.result.as_ref(), found, own.result.as_ref())
        .map_err(|what| format!("`{name}`, result: {what}"))
}

type Fits = Result<(), String>;

fn optional_fits(served: &Resolve, wanted: Option<&Type>, found: &Resolve, own: Option<&Type>) -> Fits {
    match (wanted, own) {
        (None, None) => Ok(()),
        (Some(wanted), Some(own)) => type_fits(served, wanted, found, own),
        (Some(wanted), None) => Err(format!("expected {}, found nothing", word(served, wanted))),
        (None, Some(own)) => Err(format!("expected nothing, found {}", word(found, own))),
    }
}

fn type_fits(served: &Resolve, wanted: &Type, found: &Resolve, own: &Type) -> Fits {
    let (wanted, own) = (plain(served, *wanted), plain(found, *own));
    let differ = || Err(format!("expected {}, found {}", word(served, &wanted), word(found, &own)));
    let (Type::Id(wanted_id), Type::Id(own_id)) = (wanted, own) else {
        return if wanted == own && !matches!(wanted, Type::Id(_)) { Ok(()) } else { differ() };
    };
    let (one, other) = (&served.types[wanted_id], &found.types[own_id]);
    let named = one.name.as_deref().unwrap_or_default();
    match (&one.kind, &other.kind) {
        (TypeDefKind::Record(one), TypeDefKind::Record(other)) => {
            let (one, other) = (&one.fields, &other.fields);
            names_fit("record", named, "field", one.iter().map(|f| &f.name), other.iter().map(|f| &f.name))?;
            one.iter().zip(other).try_for_each(|(one, other)| {
                type_fits(served, &one.ty, found, &other.ty)
                    .map_err(|what| format!("record `{named}`, field `{}`: {what}", one.name))
            })
        }
        (TypeDefKind::Variant(one), TypeDefKind::Variant(other)) => {
            let (one, other) = (&one.cases, &other.cases);
            names_fit("variant", named, "case", one.iter().map(|c| &c.name), other.iter().map(|c| &c.name))?;
            one.iter().zip(other).try_for_each(|(one, other)| {
                optional_fits(served, one.ty.as_ref(), found, other.ty.as_ref())
                    .map_err(|what| format!("variant `{named}`, case `{}`: {what}", one.name))
            })
        }
        (TypeDefKind::Enum(one), TypeDefKind::Enum(other)) => {
            names_fit("enum", named, "case", one.cases.iter().map(|c| &c.name), other.cases.iter().map(|c| &c.name))
        }
        (TypeDefKind::List(one), TypeDefKind::List(other)) => {
            type_fits(served, one, found, other).map_err(|what| format!("list: {what}"))
        }
        (TypeDefKind::Option(one), TypeDefKind::Option(other)) => {
            type_fits(served, one, found, other).map_err(|what| format!("option: {what}"))
        }
        (TypeDefKind::Result(one), TypeDefKind::Result(other)) => {
            optional_fits(served, one.ok.as_ref(), found, other.ok.as_ref())
                .map_err(|what| format!("result: {what}"))?;
            optional_fits(served, one.err.as_ref(), found, other.err.as_ref())
                .map_err(|what| format!("error of the result: {what}"))
        }
        (TypeDefKind::Tuple(one), TypeDefKind::Tuple(other)) if one.types.len() == other.types.len() => {
            one.types.iter().zip(&other.types).try_for_each(|(one, other)| type_fits(served, one, found, other))
        }
        _ => differ(),
    }
}

fn names_fit<'a>(
    kind: &str,
    named: &str,
    part: &str,
    wanted: impl Iterator<Item = &'a String>,
    own: impl Iterator<Item = &'a String>,
) -> Fits {
    let (wanted, own): (Vec<_>, Vec<_>) = (wanted.collect(), own.collect());
    if wanted == own {
        return Ok(());
    }
    let mut differences = Vec::new();
    let missing: Vec<_> = wanted.iter().filter(|name| !own.contains(name)).map(|name| format!("`{name}`")).collect();
    let unknown: Vec<_> = own
        .iter()
        .filter(|name| !wanted.contains(name))
        .take(8)
        .map(|name| format!("`{}`", super::clean(name)))
        .collect();
    if !missing.is_empty() {
        differences.push(format!("missing {}", missing.join(", ")));
    }
    if !unknown.is_empty() {
        differences.push(format!("unknown {}", unknown.join(", ")));
    }
    if differences.is_empty() {
        differences.push("in another order".into());
    }
    Err(format!("{kind} `{named}`: expected {} {part}s, found {}: {}", wanted.len(), own.len(), differences.join("; ")))
}

/// Follows names that stand for another type.
fn plain(resolve: &Resolve, mut ty: Type) -> Type {
    while let Type::Id(id) = ty
        && let TypeDefKind::Type(next) = &resolve.types[id].kind
    {
        ty = *next;
    }
    ty
}

fn word(resolve: &Resolve, ty: &Type) -> String {
    match plain(resolve, *ty) {
        Type::Id(id) => {
            let definition = &resolve.types[id];
            let kind = definition.kind.as_str();
            match (&definition.name, &definition.kind) {
                (Some(name), _) => format!("{kind} `{}`", super::clean(name)),
                (None, TypeDefKind::List(inner) | TypeDefKind::Option(inner)) if !matches!(inner, Type::Id(_)) => {
                    format!("{kind}<{}>", word(resolve, inner))
                }
                (None, _) => format!("a {kind}"),
            }
        }
        primitive => format!("{primitive:?}").to_lowercase(),
    }
}
