"""Reads the public items of a crate out of rustdoc's JSON.

`items(crates)` returns a dictionary from an item's path, as users of the first crate write it, to its signature. Items that the
crate re-exports from others are followed into those of `crates` that have them.

Signatures are normalised, so that two crates whose items can be used in the same way have the same text: names of parameters
and lifetimes go, the type itself is `Self`, generic parameters that are used once are written as `impl`, bounds are sorted.
"""

import json
import re

# What a type's parameters are called, whatever it calls them itself.
PARAMETERS = ["T", "U", "V", "W"]

# Impls that say nothing to users of a type.
UNINTERESTING_TRAITS = {"Drop", "EntityRef", "ReservedValue", "Send", "StructuralPartialEq", "Sync", "TryClone"}


def only(dictionary):
    """The one key and value of a dictionary, or a string that stands for a variant without fields."""
    return next(iter(dictionary.items())) if isinstance(dictionary, dict) else (dictionary, None)


class Crate:
    """The JSON of one crate."""

    def __init__(self, path):
        with open(path) as file:
            data = json.load(file)
        self.index = data["index"]
        self.paths = data["paths"]
        self.root = self.index[str(data["root"])]
        self.name = self.root["name"]
        # Where an item is defined, to find it from other crates.
        self.by_path = {
            tuple(entry["path"]): id for id, entry in self.paths.items() if entry["crate_id"] == 0
        }

    def get(self, id):
        return self.index.get(str(id))


# ---------------------------------------------------------------------------------------------------------------- types


def name_of(path):
    return path.split("::")[-1]


def type_text(type):
    if type is None:
        return "()"
    kind, value = only(type)
    match kind:
        case "resolved_path":
            return name_of(value["path"]) + arguments_text(value.get("args"))
        case "generic" | "primitive":
            return value
        case "borrowed_ref":
            return "&" + ("mut " if value["is_mutable"] else "") + type_text(value["type"])
        case "tuple":
            return "(" + ", ".join(map(type_text, value)) + ")"
        case "slice":
            return f"[{type_text(value)}]"
        case "array":
            return f"[{type_text(value['type'])}; {value['len']}]"
        case "raw_pointer":
            return ("*mut " if value["is_mutable"] else "*const ") + type_text(value["type"])
        case "impl_trait":
            return "impl " + bounds_text(value)
        case "dyn_trait":
            return "dyn " + " + ".join(sorted(trait_text(bound["trait"]) for bound in value["traits"]))
        case "qualified_path":
            return f"{type_text(value['self_type'])}::{value['name']}"
        case "function_pointer":
            signature = value["sig"]
            inputs = ", ".join(type_text(type) for _, type in signature["inputs"])
            return f"fn({inputs})" + result_text(signature["output"])
        case _:
            return kind


def result_text(output):
    return f" -> {type_text(output)}" if output else ""


def trait_text(trait):
    # Some call the standard trait so, beside an `Error` of their own.
    name = name_of(trait["path"]).replace("StdError", "Error")
    return name + arguments_text(trait.get("args"))


def arguments_text(arguments):
    if not arguments:
        return ""
    kind, value = only(arguments)
    if kind == "parenthesized":
        return "(" + ", ".join(map(type_text, value["inputs"])) + ")" + result_text(value["output"])
    if kind != "angle_bracketed":
        return ""
    texts = []
    for argument in value["args"]:
        kind, inner = only(argument)
        if kind == "type":
            texts.append(type_text(inner))
        elif kind == "const":
            texts.append(inner["expr"])
    for constraint in value.get("constraints", []):
        kind, inner = only(constraint["binding"])
        if kind == "equality":
            texts.append(f"{constraint['name']} = {type_text(inner.get('type'))}")
        else:
            texts.append(f"{constraint['name']}: {bounds_text(inner)}")
    return f"<{', '.join(texts)}>" if texts else ""


def bounds_text(bounds):
    texts = set()
    for bound in bounds:
        kind, value = only(bound)
        if kind == "trait_bound":
            texts.add(("?" if value["modifier"] == "maybe" else "") + trait_text(value["trait"]))
    return " + ".join(sorted(texts))


# ------------------------------------------------------------------------------------------------------------ functions


def generics_of(generics):
    """Generic parameters with all bounds that they have anywhere, and bounds of other types."""
    parameters, others = {}, []
    for parameter in generics["params"]:
        kind, value = only(parameter["kind"])
        if kind == "type" and not value["is_synthetic"]:
            parameters[parameter["name"]] = list(value["bounds"])
        elif kind == "const":
            parameters[parameter["name"]] = []
    for predicate in generics["where_predicates"]:
        kind, value = only(predicate)
        if kind != "bound_predicate":
            continue
        type = type_text(value["type"])
        if type in parameters:
            parameters[type] += value["bounds"]
        elif bounds_text(value["bounds"]):
            others.append(f"{type}: {bounds_text(value['bounds'])}")
    return {name: bounds_text(bounds) for name, bounds in parameters.items()}, others


def function_text(item, self_names=(), rename=str):
    """A function's signature. `self_names`: what stands for `Self` in it; `rename`: gives the type's parameters their names."""
    function = item["inner"]["function"]
    header, signature = function["header"], function["sig"]
    inputs = []
    for name, type in signature["inputs"]:
        text = type_text(type)
        if name == "self":
            text = {"Self": "self", "&Self": "&self", "&mut Self": "&mut self"}.get(text, f"self: {text}")
        inputs.append(text)
    parameters, others = generics_of(function["generics"])
    text = "(" + ", ".join(inputs) + ")"
    output = type_text(signature["output"])
    if header["is_async"]:
        output = f"impl Future<Output = {output}>"
    if output != "()":
        text += f" -> {output}"

    # `F` with bounds that occurs once is `impl` of these bounds.
    for name, bounds in list(parameters.items()):
        word = rf"\b{name}\b"
        rest = " ".join(others + [b for n, b in parameters.items() if n != name])
        if bounds and len(re.findall(word, text)) == 1 and not re.search(word, rest) and not re.search(rf"{word}::", text):
            text = re.sub(word, lambda _: f"impl {bounds}", text)
            del parameters[name]
    # The others are numbered in the order in which they occur.
    order = sorted(parameters, key=lambda name: (re.search(rf"\b{name}\b", text) or re.search("$", text)).start())
    where = sorted(f"{name}: {bounds}" for name, bounds in parameters.items() if bounds) + sorted(others)
    if where:
        text += " where " + ", ".join(where)
    for number, name in enumerate(order):
        text = re.sub(rf"\b{name}\b", f"${number}", text)
    text = rename(text)
    for name in self_names:
        if name == "Error":
            continue  # also the name of the trait
        text = re.sub(rf"(?<![\w:]){re.escape(name)}(?![\w<])", "Self", text)
    return ("unsafe " if header["is_unsafe"] else "") + f"fn{text}"


# ---------------------------------------------------------------------------------------------------------------- items


def is_module(crate, item):
    """Is it a module, or the re-export of one?"""
    kind, value = only(item["inner"])
    if kind == "use" and value["id"] is not None:
        return crate.paths.get(str(value["id"]), {}).get("kind") == "module" and not value["is_glob"]
    return kind == "module"


def is_hidden(item):
    return "doc(hidden)" in str(item.get("attrs"))


class Walk:
    """Collects the items of a crate."""

    def __init__(self, crates, once):
        self.crates = crates
        self.items = {}
        self.modules = set()
        # Items that were listed already, if each is to be listed once.
        self.seen = set() if once else None

    def put(self, path, text):
        self.items.setdefault(path, text)

    def module(self, crate, item, path):
        if (crate.name, item["id"]) in self.modules:
            return
        self.modules.add((crate.name, item["id"]))
        children = [child for id in item["inner"]["module"]["items"] if (child := crate.get(id)) is not None]
        # Modules last, so that what is in the root as well is listed there.
        for child in sorted(children, key=lambda child: is_module(crate, child)):
            self.item(crate, child, path)

    def use(self, crate, use, path):
        target, home = crate.get(use["id"]) if use["id"] is not None else None, crate
        if target is None and use["id"] is not None:
            # Defined in another crate.
            entry = crate.paths.get(str(use["id"]))
            defined = tuple(entry["path"]) if entry else ()
            for other in self.crates:
                if defined in other.by_path:
                    target, home = other.get(other.by_path[defined]), other
        if use["is_glob"]:
            if target is not None and "module" in target["inner"]:
                self.module(home, target, path)
        elif target is None:
            self.put(path + use["name"], f"re-export of {use['source']}")
        else:
            self.item(home, target, path, use["name"])

    def item(self, crate, item, path, name=None):
        kind, value = only(item["inner"])
        if is_hidden(item):
            return
        if kind == "use":
            return self.use(crate, value, path)
        if item["visibility"] != "public" and name is None:
            return
        here = path + (name or item["name"])
        if kind == "module":
            return self.module(crate, item, here + "::")
        if self.seen is not None:
            if (crate.name, item["id"]) in self.seen:
                return
            self.seen.add((crate.name, item["id"]))
        match kind:
            case "struct" | "union" | "enum":
                self.type(crate, item, kind, value, here)
            case "trait":
                self.trait(crate, value, here)
            case "function":
                self.put(here, function_text(item))
            case "type_alias":
                parameters = generics_of(value["generics"])[0]
                self.put(here, f"type of {len(parameters)} parameters")
            case "macro" | "proc_macro":
                self.put(here, "macro")
            case "constant":
                self.put(here, f"const {type_text(value['type'])}")
            case _:
                self.put(here, kind)

    def type(self, crate, item, kind, value, here):
        fields = []
        if kind == "struct" and (plain := only(value["kind"]))[0] == "plain":
            fields = [crate.get(id) for id in plain[1]["fields"]]
        elif kind == "struct" and (tuple_ := only(value["kind"]))[0] == "tuple":
            fields = [crate.get(id) for id in tuple_[1] if id is not None]
        elif kind == "union":
            fields = [crate.get(id) for id in value["fields"]]
        fields = [field for field in fields if field and field["visibility"] == "public" and not is_hidden(field)]
        variants = [crate.get(id) for id in value["variants"]] if kind == "enum" else []
        variants = [variant for variant in variants if variant and not is_hidden(variant)]
        # Without public fields or variants nobody can tell one kind from another.
        parameters, others = generics_of(value["generics"])
        text = kind if fields or variants else "type"
        if parameters:
            text += f" of {len(parameters)} parameters"
        if "non_exhaustive" in str(item["attrs"]) and (fields or variants):
            text += ", non-exhaustive"
        self.put(here, text)
        for field in fields:
            self.put(f"{here}::{field['name']}", f"field {type_text(field['inner']['struct_field'])}")
        for variant in variants:
            self.put(f"{here}::{variant['name']}", self.variant_text(crate, variant))
        own = item["name"]
        if parameters:
            own += f"<{', '.join(PARAMETERS[: len(parameters)])}>"
        for id in value["impls"]:
            if (implementation := crate.get(id)) is not None:
                self.implementation(crate, implementation["inner"]["impl"], own, here)

    def variant_text(self, crate, variant):
        kind, value = only(variant["inner"]["variant"]["kind"])
        if kind == "tuple":
            fields = [crate.get(id) for id in value if id is not None]
            types = [type_text(field["inner"]["struct_field"]) if field else "_" for field in fields]
            return f"variant({', '.join(types)})"
        if kind == "struct":
            fields = [crate.get(id) for id in value["fields"]]
            types = [f"{field['name']}: {type_text(field['inner']['struct_field'])}" for field in fields if field]
            return f"variant {{ {', '.join(types)} }}"
        return "variant"

    def implementation(self, crate, implementation, own, here):
        if implementation["is_synthetic"] or implementation["blanket_impl"] or implementation["is_negative"]:
            return
        subject = type_text(implementation["for"])
        # `impl From<Func> for Val` belongs to `Val`, and is listed with `Func`, too.
        if subject.split("<")[0] != own.split("<")[0]:
            return
        names = re.findall(r"\w+", own)[1:]
        renames = dict(zip(re.findall(r"\b[A-Z]\w*\b", subject)[1:], names))

        def rename(text):
            return re.sub(r"\b[A-Z]\w*\b", lambda word: renames.get(word[0], word[0]), text) if names else text

        if implementation["trait"]:
            trait = rename(trait_text(implementation["trait"]))
            trait = trait if own == "Error" else re.sub(rf"\b{re.escape(own)}(?!\w)", "Self", trait)
            if name_of(trait) not in UNINTERESTING_TRAITS:
                self.put(f"{here}: {trait}", "impl")
            return
        for id in implementation["items"]:
            member = crate.get(id)
            if member is None or member["visibility"] != "public" or is_hidden(member):
                continue
            kind, value = only(member["inner"])
            if kind == "function":
                text = function_text(member, [own], rename)
            elif kind == "assoc_const":
                text = f"const {type_text(value['type'])}".replace(own, "Self")
            else:
                text = kind
            self.put(f"{here}::{member['name']}", text)

    def trait(self, crate, value, here):
        bounds = bounds_text(value["bounds"])
        self.put(here, ("unsafe " if value["is_unsafe"] else "") + "trait" + (f": {bounds}" if bounds else ""))
        for id in value["items"]:
            member = crate.get(id)
            if member is None or is_hidden(member):
                continue
            kind, inner = only(member["inner"])
            if kind == "function":
                provided = "provided " if inner["has_body"] else ""
                self.put(f"{here}::{member['name']}", provided + function_text(member))
            else:
                self.put(f"{here}::{member['name']}", kind)


def items(paths, once=False):
    """The public items of the first crate; the others are those it re-exports from. `once`: under one of their names only."""
    crates = [Crate(path) for path in paths]
    walk = Walk(crates, once)
    walk.module(crates[0], crates[0].root, "")
    return walk.items
