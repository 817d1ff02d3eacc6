"""Makes the built-in model's questions and answers from facts.json, topics.yaml and world.yaml.

A topic has one answer whatever is asked of its subject, so that a small model can learn to tell
subjects apart instead of sentences. Templates, noise words, misspellings and letter cases vary the
questions of the corpus; exam() makes the held-back questions from templates that no question of
the corpus is made of. What is of no topic has the answer UNKNOWN.
"""

import json
import pathlib
import re

import yaml

HERE = pathlib.Path(__file__).parent
UNKNOWN = "I do not know that. I am the built-in model and know this pod alone; serve a bigger one with --model."

ANY = """what is {}|what are {}|what does {} mean|what does {} do|what is {} for|what is meant by {}|explain {}|explain {} to me|
tell me about {}|tell me more about {}|describe {}|how does {} work|how do I use {}|how can I use {}|why {}|what about {}|{}|
define {}|can you explain {}|could you explain {}|please explain {}|I want to know about {}|what should I know about {}|
what do I need to know about {}|help me understand {}|I do not understand {}|give me a summary of {}|information on {}|
details on {}|help with {}|do you know {}|what can you tell me about {}|is there {}|where is {}|when is {} used|
why is there {}|what happens with {}|show me {}|question about {}|what is the purpose of {}|how should I read {}|
in short what is {}|{} explained|{} meaning|meaning of {}|what exactly is {}|what kind of thing is {}|how is {} used"""
METRIC = """what does the metric {} count|what does {} measure|what is the metric {}|what does metric {} show|explain the metric {}|
what does the series {} say|how do I read {}|which type is {}|what type of metric is {}|is {} a counter|is {} a gauge|what unit has {}|
which process exports {}|what is in {}|{} is high|why is {} rising|why does {} grow|what does it mean when {} is high|
I see {} on the dashboard|the metric {}|metric {}|{} metric|what does a high {} tell me|what labels has {}|should I alert on {}|why is {} zero"""
ALERT = """what does the alert {} mean|why does {} fire|{} fires|{} is firing|{} fired|I got the alert {}|I was paged for {}|what should I do about {}|
what do I do when {} fires|how do I fix {}|how do I resolve {}|how severe is {}|alert {}|the alert {}|{} alert|runbook for {}|
what are the first steps for {}|what triggers {}|when does {} fire|is {} critical|what causes {}|pager says {}|help {} is firing|
we have {}|how do I react to {}|what is the severity of {}"""
FLAG = """what does the flag {} do|what does the option {} do|what is the flag {}|explain the flag {}|what is the default of {}|
what is {} set to by default|how do I set {}|what should I set {} to|which values can {} have|what is the setting {}|the flag {}|
flag {}|option {}|setting {}|what happens if I set {}|should I change {}|when should I use {}|what can I configure with {}|
is there a flag {}|documentation of {}|what effect has {}|why would I set {}|{} option|{} flag"""
COMMAND = """what does the command {} do|what is the command {}|how do I run {}|when do I use {}|explain the command {}|
the command {}|command {}|what does running {} do|what happens when I run {}|what prints {}|{} command|usage of {}|help for {}|
why would I run {}|what is the output of {}"""
HELD_ANY = """what can be said of {}|kindly walk me through {}|my colleague mentioned {}, what is that|give me the gist of {}|
{}: what is this about|somebody asked me about {}|I would love to hear what {} means|let us talk about {}|shed some light on {}|
I came across {} and wonder what it stands for"""
HELD = {
    "metric": """what am I looking at when I graph {}|interpret {} for me|on the chart there is {}, what does it tell|what information does {} carry""",
    "alert": """it is 3 am and {} went off|{} just woke me up|the phone says {}, now what|how bad is it when {} goes off""",
    "flag": """if I pass {} on the command line what changes|for what is {} good|in the YAML there is {}, what is it|tell me the role of {}""",
    "command": """if I type {} in a shell what will I get|for what is {} good|what will {} give me|in which case would I type {}""",
}
NOISE_BEFORE = "please|hey|hi|so|ok|well|um|quick question|sorry|hello|now|and|tell me|I wonder|excuse me|one more thing|in this pod|listen|just curious|dear model|say".split("|")
NOISE_AFTER = "please|thanks|in this pod|here|exactly|for me|in Semantic|now|again|today|in simple words|briefly|if you know|in detail|at all|then|in one sentence|by the way".split("|")
# Words that say nothing of a subject, put around it at random, so that no phrase is what an answer hangs on.
FILLER = """i we you they he she it my our your their the a an this that these some any all one two of on in to for with from by at about
as and or but so if when then than because while after before during again still just only also even ever never always often maybe
perhaps really very much more most less little big small good bad new old other same such own first last next long short is are was
were be been being am do does did done have has had can could will would shall should may might must need needs want wants like likes
know knows think thinks say says said see sees saw seen hear heard read reads wrote write tell told talk talked speak asked ask asks
look looks looking find found found give gives gave get gets got take takes took make makes made put let lets go goes went come came
comes mean means meant stand stands refer refers describe light summary idea point matter subject topic case thing things part kind
sort way word words name detail details bit lot people person friend boss team colleague manager yesterday today tomorrow monday
morning night week minute moment time meeting chat mail phone screen page book paper list question answer help please kindly thanks
curious wonder wondering confused lost sure clear unclear simple exactly briefly quickly finally actually basically simply""".split()
MADE_UP = """widget gadget banana rocket pepper tulip magic unicorn robot candy paper stone river cloud forest lamp spoon chair window
apple pencil mirror button bottle pocket castle dragon violin turtle hammer ladder planet comet socket zebra
lemon onion carrot cookie waffle muffin noodle butter honey sugar salt coffee tea milk cheese bread cherry melon grape walnut
tiger lion bear wolf fox rabbit mouse horse donkey camel monkey parrot eagle owl penguin whale dolphin shark crab snail spider beetle bee
house garden roof kitchen carpet curtain pillow blanket towel brush comb mirror candle basket bucket barrel hat coat shoe glove scarf
train truck boat ship plane wheel bridge tunnel road map island desert valley lake ocean beach sand snow rain thunder wind sun moon star
red blue green purple yellow silver golden happy angry sleepy shiny tiny giant frozen broken secret silent loud sweet bitter
king queen knight wizard pirate ninja clown dancer painter farmer baker doctor teacher piano drum trumpet song dance circus carnival
jump swim fly sing cook paint draw whistle laugh cry yawn sneeze bake knit climb dig throw catch kick spin melt vanish explode""".split()
# The last words of made-up names of which the first is made up.
REAL = "empty full high low failed missing near down up late size limit depth time file memory count rate level mode path".split()
SYLLABLES = "ba ko mi ru ta zel vor nix pla que fro dun gri sha lo wem tir ".split()


def split(text):
    return [t.strip() for t in text.replace("\n", "").split("|")]


def short(text, most=150):
    """The first sentences of a text, as many as fit."""
    text = re.sub(r"\s+", " ", text).strip()
    out = ""
    for sentence in re.split(r"(?<=[.;?]) ", text):
        if out and len(out) + len(sentence) > most:
            break
        out += (" " if out else "") + sentence
    return out.rstrip(";").rstrip(".") + "."


class Topic:
    """An answer, and what questions of the corpus and of the exam are made of."""

    def __init__(self, answer, kind="concept", subjects=(), asks=(), held=(), templates=()):
        self.answer, self.kind = answer, kind
        self.subjects, self.asks, self.held = list(subjects), list(asks), list(held)
        self.templates = list(templates) or split(ANY)


def topics():
    facts = json.loads((HERE / "facts.json").read_text())
    out = []
    for t in yaml.safe_load((HERE / "topics.yaml").read_text()):
        out.append(Topic(t["answer"], subjects=t.get("subjects", []), asks=t.get("asks", []), held=t.get("held", [])))
    for m in facts["metrics"]:
        if m["name"].startswith("semantic_"):
            bare = m["name"].removeprefix("semantic_")
            out.append(Topic(f"{m['name']} ({m['type']}): {short(m['text'], 90)}", "metric",
                             [m["name"]] * 4 + [bare, bare.replace("_", " ")], templates=split(ANY) + split(METRIC) * 2))
    for a in facts["alerts"]:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", a["name"].removeprefix("Semantic"))
        out.append(Topic(f"{a['name']} ({a['severity']}): {short(a['means'], 80)} First: {short(a['steps'], 60)}", "alert",
                         [a["name"]] * 5 + [a["name"].removeprefix("Semantic"), "the alert " + words.lower()],
                         templates=split(ANY) + split(ALERT) * 2))
    for f in facts["flags"]:
        default = f" Default {f['default']}." if f["default"] else ""
        out.append(Topic(f"--{f['name']}: {short(f['text'], 80)}{default}", "flag", ["--" + f["name"]] * 5 +
                         ["SEMANTIC_" + f["name"].upper().replace("-", "_"), "the setting " + f["name"]],
                         templates=split(ANY) + split(FLAG) * 2))
    for c in facts["commands"]:
        out.append(Topic(f"semantic {c['name']}: {short(c['text'], 80)}", "command",
                         ["semantic " + c["name"]] * 3 + [f"the command semantic {c['name']}", f"`semantic {c['name']}`"],
                         templates=split(ANY) + split(COMMAND) * 2))
    return out


def stems(text):
    """The words of a text that say what it is about, whatever their number."""
    return {w.removesuffix("s") for w in re.findall(r"\w+", text.lower())} - {"", "a", "an", "the", "of", "on", "to", "in", "at", "is", "and", "by", "my", "up", "out"}


class World:
    """Questions of no topic. No noun of the corpus stands in an exam."""

    def __init__(self):
        w = yaml.safe_load((HERE / "world.yaml").read_text())
        self.shapes, self.asks, self.held = w["shapes"], w["asks"], w["held"]
        self.blind = yaml.safe_load((HERE / "blind.yaml").read_text())
        examined = {word for q in self.held + self.blind for word in stems(q)}
        self.nouns = [n.strip() for n in w["nouns"].split(",") if not stems(n) & examined]
        self.kinds = {"metric": split(ANY) + split(METRIC), "alert": split(ANY) + split(ALERT),
                      "flag": split(ANY) + split(FLAG), "command": split(ANY) + split(COMMAND)}

    def made_up(self, rng):
        """A name that looks like one of the pod's and is none."""
        pick = lambda: MADE_UP[rng.integers(len(MADE_UP))] if rng.random() < 0.5 else "".join(
            SYLLABLES[rng.integers(len(SYLLABLES))] for _ in range(rng.integers(2, 4)))
        kind = list(self.kinds)[rng.integers(4)]
        a, b = pick(), pick()
        part = lambda: REAL[rng.integers(len(REAL))] if rng.random() < 0.25 else b
        name = {"metric": f"semantic_{a}_{['total', 'seconds', 'ratio', 'bytes', b][rng.integers(5)]}",
                "alert": f"Semantic{a.title()}{part().title()}", "flag": f"--{a}-{part()}" if rng.random() < 0.6 else f"--{a}",
                "command": f"semantic {a}"}[kind]
        shapes = self.kinds[kind]
        return shapes[rng.integers(len(shapes))].replace("{}", name)

    def noun(self, rng):
        r = rng.random()
        if r < 0.2:
            return "".join(SYLLABLES[rng.integers(len(SYLLABLES))] for _ in range(rng.integers(2, 4)))
        pick = lambda: self.nouns[rng.integers(len(self.nouns))]
        return pick() if r < 0.7 else f"{MADE_UP[rng.integers(len(MADE_UP))]} {pick()}" if r < 0.85 else MADE_UP[rng.integers(len(MADE_UP))]

    def question(self, rng):
        r = rng.random()
        if r < 0.2:
            return self.made_up(rng)
        if r < 0.4:
            return self.asks[rng.integers(len(self.asks))]
        if r < 0.55:
            return soup(self.noun(rng), rng)
        # Half of these ask as the pod's own questions do, so that the words around a subject say nothing.
        shapes = self.shapes if r < 0.85 else split(ANY)
        text = shapes[rng.integers(len(shapes))]
        while "{}" in text:
            text = text.replace("{}", self.noun(rng), 1)
        return text


def misspell(text, rng):
    """One slip of the fingers in a plain word of a question."""
    words = [m for m in re.finditer(r"(?<![\w-])[a-z]{4,}(?![\w-])", text)]
    if not words:
        return text
    m = words[rng.integers(len(words))]
    w = list(m.group())
    i = int(rng.integers(1, len(w) - 1))
    match rng.integers(3):
        case 0:
            del w[i]
        case 1:
            w[i], w[i - 1] = w[i - 1], w[i]
        case _:
            w.insert(i, w[i])
    return text[: m.start()] + "".join(w) + text[m.end() :]


def soup(subject, rng):
    """The subject among words that say nothing."""
    word = lambda: FILLER[rng.integers(len(FILLER))]
    before = [word() for _ in range(rng.integers(0, 8))]
    after = [word() for _ in range(rng.integers(0, 8))]
    return " ".join([*before, subject, *after])


def vary(text, rng):
    """Writes a question as people do: noise around it, slips, capitals, marks."""
    if rng.random() < 0.25:
        text = NOISE_BEFORE[rng.integers(len(NOISE_BEFORE))] + [" ", ", "][rng.integers(2)] + text
    if rng.random() < 0.2:
        text += " " + NOISE_AFTER[rng.integers(len(NOISE_AFTER))]
    if rng.random() < 0.15:
        text = misspell(text, rng)
    r = rng.random()
    if r < 0.45:
        text = text[:1].upper() + text[1:]
    elif r < 0.6:
        text = text.lower()
    elif r < 0.62:
        text = text.upper()
    return text + ["", "?", "?", "?", ".", " ?", "!"][rng.integers(7)]


def ask(topic, rng):
    """A question of the corpus on a topic."""
    if topic.asks and (not topic.subjects or rng.random() < 0.45):
        text = topic.asks[rng.integers(len(topic.asks))]
        return vary(soup(text, rng) if topic.subjects and rng.random() < 0.15 else text, rng)
    subject = topic.subjects[rng.integers(len(topic.subjects))]
    if topic.kind != "concept" and rng.random() < 0.1:
        subject = f"`{subject}`"
    if rng.random() < 0.4:
        return vary(soup(subject, rng), rng)
    return vary(topic.templates[rng.integers(len(topic.templates))].replace("{}", subject), rng)


def exam(rng):
    """The held-back questions: (kind, question, answer)."""
    out = []
    for t in topics():
        for q in t.held:
            out.append(("concept", q, t.answer))
        if t.kind == "concept":
            if t.subjects:
                shapes = split(HELD_ANY)
                out.append(("concept", shapes[rng.integers(len(shapes))].replace("{}", t.subjects[0]), t.answer))
            continue
        shapes = split(HELD_ANY) + split(HELD[t.kind]) * 3
        out.append((t.kind, shapes[rng.integers(len(shapes))].replace("{}", t.subjects[0]), t.answer))
    world = World()
    out += [("world", q.replace("{", "").replace("}", ""), UNKNOWN) for q in world.held]
    out += [("blind", q, UNKNOWN) for q in world.blind]
    marks = ["?", "", "?", "."]
    return [(k, (q[0].upper() + q[1:] if rng.random() < 0.5 and q[0].isalpha() else q) + marks[rng.integers(4)], a) for k, q, a in out]
