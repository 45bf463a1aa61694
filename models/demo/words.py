"""Word lists and random values of the demo model's training data. Everything here is our own."""
import zlib

COMMON = """the a of and to in is it that this with for on as by from at be are was were has have not or an its
which when where who what how why all each every some many more most other another same new old first last next few
long short small large high low early late open closed full empty clear dark bright quick slow quiet loud warm cold
good better best bad worse right wrong left true false real plain simple careful exact strict safe sure ready
time day week month year morning evening night hour minute moment place house room door window table wall floor
street road river bridge field garden tree forest mountain sea island city village market school station office
people person man woman child friend teacher writer worker reader owner guest member team group company country
book page line word letter name number list note paper report story question answer reason result plan rule law
idea thought fact case part piece side end start middle point form shape size length weight price cost value
water air fire light stone wood metal glass paper bread salt sugar coffee tea fruit apple pear plum grain
car train ship boat plane wheel engine machine tool key lock box bag cup plate knife rope chain bell clock lamp
make made take took give gave find found keep kept hold held bring brought send sent read write wrote say said
tell told ask asked think thought know knew see saw look looked hear heard feel felt use used need want wanted
work worked run ran walk walked move moved turn turned stop stopped begin began follow followed carry carried
show shown help helped call called build built grow grew change changed learn learned wait waited meet met
before after during between under over near far above below behind beside inside outside around through across
always never often sometimes usually again still already soon later now then here there together alone also only
must should would could can may might will shall do does did done if unless until because although while since
user assistant system message request response reply tool function call argument parameter schema format output
input context token model memory cache server client session file folder path command shell script code test
build error warning debug trace log config option flag setting default version release branch commit merge
change patch review issue project package module library crate source target binary process thread task queue
table row column field record index query search filter sort count total sum average limit range offset
network address port host domain link page site request header body status cookie login password secret
please thanks hello welcome sorry yes no okay never mind provide include avoid ensure consider explain describe
summarize respond instructions guidelines policy important remember note example following given current available
be concise polite helpful honest direct professional friendly do not guess verify check confirm state steps""".split()
COMMON = list(dict.fromkeys(COMMON))

VERBS = """align archive assign audit balance blend book brew calibrate cancel charge clone collect combine compare
compile compress count dispatch draft drain enrich estimate export fetch filter flag flush forecast forge format
freeze grade group harvest import inspect label launch lease link locate lock map measure merge mix monitor notify
open optimize order pack paint park patch pause pin plan plot print probe publish rank rate refill register release
render rent repair replace report reserve reset resize resolve restart restore resume rotate route sample scale scan
schedule score seal select ship sign simulate sort split stage start stop store submit subscribe swap sync tag test
tilt trace track train transfer trim tune unlock update upload validate verify visit weigh wrap""".split()

NOUNS = """account album alarm antenna apartment archive article asset backup badge barrel basket battery beacon bike
boiler bottle branch bucket budget bundle cabin cable camera canvas cargo carton chart cluster coil compass container
contract counter coupon crane customer dataset deck deposit device diagram dish document drone engine envelope episode
export fabric feed fence fleet form fountain furnace gallery gate gauge glacier grid harbor helmet hotel image
inventory invoice journal kernel kettle label lamp ledger lens letter license locker magazine manual map meeting meter
mirror module motor network node notebook novel orchard order oven package palette panel parcel partition passport
payment photo pipeline pixel plant playlist podcast pool portfolio poster printer profile pump queue receipt recipe
record region relay rental reservation resistor robot route sample satellite scanner schedule sensor server shelf
shipment signal snapshot socket song spool spreadsheet stack statue street subscription summary survey switch tank
target task telescope template tent ticket tile timer token tower tractor trailer transcript tunnel turbine valve
vault vehicle vessel video voucher wagon warehouse widget window workshop""".split()

PARAMS = """amount angle area author batch brand capacity category channel class code color comment count cycle
degree delay depth destination direction distance duration email factor file filter floor folder format frequency
grade group height host identifier index interval key kind label language latitude length level limit location
longitude margin material message method mode model name note number offset operator origin owner page password path
pattern period phase phone pin place plan port position power prefix price priority profile quality quantity query
radius range rate ratio reason reference region resolution role room rotation route row scale scope score season
sector seed sender serial shape side size slot source speed stage start state status step strategy style subject
suffix symbol table tag target team temperature text theme threshold timeout title topic total type unit url user
value variant version volume weight width zone""".split()

CITIES = """Oslo Lima Kyoto Porto Quito Delhi Cairo Paris Turin Milan Bergen Zagreb Dakar Accra Tunis Perth Malmo
Utrecht Krakow Vilnius Bogota Havana Austin Boston Denver Seattle Toronto Geneva Zurich Vienna Prague Lisbon Madrid
Sevilla Athens Ankara Nairobi Lagos Jakarta Manila Osaka Busan Hanoi Riga Tallinn Helsinki Dublin Leeds Bristol
Montreal Santiago Auckland Sydney""".split()
PEOPLE = """Anna Bela Carl Dora Emil Fatima Greta Hugo Irma Jonas Karin Leo Mara Nils Olga Pavel Rosa Sami Tara Uwe
Vera Wim Yara Zoe Alice Bruno Clara Dan Elena Felix Gita Hana Ivan Julia Kofi Lena Marco Nadia Omar Petra Quinn Ravi
Sofia Theo Ursula Viktor Wanda Xenia Yusuf""".split()
LANGUAGES = """French German Spanish Italian Polish Danish Finnish Greek Turkish Arabic Hindi Japanese Korean Czech
Dutch Swedish Portuguese Hungarian""".split()
EXTENSIONS = "rs py txt md json toml yaml c h cpp js ts go java html css sh csv log cfg xml sql lock".split()
STEMS = """main lib util test index server client config readme parser lexer model data app core engine cache token
session build setup routes schema types report notes todo draft summary license changelog metrics worker queue kernel
loader writer reader vector matrix graph node tree list table format script deploy backup invoice budget""".split()
FOLDERS = """src lib tests docs bin app core pkg internal include scripts data assets config tools examples crates
web api db home var etc opt tmp backend frontend models utils logs notes""".split()

ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sn sp st str t th tr v w x y z".split()
VOWELS = "a e i o u ai ea ee ie oa oo ou".split()
CODAS = ["", "", "", "b", "ck", "d", "ft", "g", "k", "l", "lt", "m", "mp", "n", "nd", "nk", "nt", "p", "r", "rd", "rk",
         "rn", "s", "sk", "st", "t", "th", "x"]


def held_out(text):
    """One name in eight never occurs in training."""
    return zlib.crc32(text.encode()) % 8 == 0


class Values:
    """Random values. `held` draws names of tools and parameters from the held-out part, or from the other one."""

    def __init__(self, rng, held):
        self.rng, self.held = rng, held

    def pick(self, pool):
        """An entry of the pool's part."""
        for _ in range(200):
            item = self.rng.choice(pool)
            if held_out(item) == self.held:
                return item
        return item

    def free(self, make):
        """As `pick`, of an endless pool."""
        while True:
            item = make()
            if held_out(item) == self.held:
                return item

    def nonsense(self, low=1, high=3):
        rng = self.rng
        return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(low, high)))

    def word(self):
        return self.rng.choice(COMMON) if self.rng.random() < 0.6 else self.nonsense()

    def words(self, low, high):
        return " ".join(self.word() for _ in range(self.rng.randint(low, high)))

    def stem(self):
        rng, roll = self.rng, self.rng.random()
        if roll < 0.35:
            return rng.choice(STEMS)
        if roll < 0.6:
            return self.nonsense(1, 3)
        if roll < 0.8:
            return rng.choice(STEMS) + rng.choice("_-") + self.nonsense(1, 2)
        if roll < 0.9:
            return self.nonsense(1, 2) + str(rng.randint(0, 9999))
        return rng.choice(["Make", "Read", "App", "Test", ""]) + self.nonsense(1, 2).capitalize()

    def folder(self):
        rng = self.rng
        return rng.choice(FOLDERS) if rng.random() < 0.55 else self.nonsense(1, 2)

    def file(self):
        return self.free(lambda: f"{self.stem()}.{self.rng.choice(EXTENSIONS)}")

    def directory(self):
        rng = self.rng
        return rng.choice(["", "", "", "./", "/", "../", "~/"]) + "/".join(self.folder() for _ in range(rng.randint(1, 3)))

    def path(self):
        rng = self.rng
        return self.file() if rng.random() < 0.25 else self.directory() + "/" + self.file()

    def identifier(self):
        rng, roll = self.rng, self.rng.random()
        if roll < 0.35:
            return rng.choice("ABCDEFGHKLMNPQRSTUVWXYZ") * rng.randint(1, 2) + "-" + str(rng.randint(1, 99999))
        if roll < 0.6:
            return "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(6, 12)))
        if roll < 0.8:
            return self.nonsense(1, 2) + rng.choice("-_") + str(rng.randint(1, 999))
        return self.nonsense(2, 3)

    def url(self):
        rng = self.rng
        tail = "/".join(self.nonsense(1, 2) for _ in range(rng.randint(0, 3)))
        return f"http{rng.choice(['s', 's', ''])}://{self.nonsense(1, 3)}.{rng.choice(['com', 'org', 'net', 'io', 'dev'])}/{tail}"

    def email(self):
        return f"{self.nonsense(1, 2)}@{self.nonsense(1, 2)}.{self.rng.choice(['com', 'org', 'net'])}"

    def date(self):
        rng = self.rng
        return f"{rng.randint(2020, 2035)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"

    def clock(self):
        return f"{self.rng.randint(0, 23):02}:{self.rng.choice([0, 5, 10, 15, 20, 30, 40, 45, 50]):02}"

    def phrase(self, low=2, high=6):
        text = self.words(low, high)
        return text if self.rng.random() < 0.6 else text[0].upper() + text[1:]

    def integer(self):
        rng = self.rng
        return rng.choice([rng.randint(0, 12), rng.randint(0, 100), rng.randint(0, 1000), rng.randint(0, 99999)])

    def decimal(self):
        rng = self.rng
        return round(rng.uniform(0, rng.choice([1, 10, 100, 1000])), rng.choice([1, 1, 2])) + 0.0

    def sentence(self):
        rng = self.rng
        text = self.words(5, 14)
        if rng.random() < 0.15:
            text += ", " + self.words(3, 8)
        if rng.random() < 0.08:
            text += f" ({self.word()} {self.integer()})"
        return text[0].upper() + text[1:] + rng.choice("....?!:;")

    def paragraph(self, low=2, high=6):
        return " ".join(self.sentence() for _ in range(self.rng.randint(low, high)))

    def code(self):
        """A few lines that look like a program."""
        rng, out = self.rng, []
        for _ in range(rng.randint(2, 7)):
            a, b, n = self.nonsense(1, 2), self.nonsense(1, 2), self.integer()
            out.append(rng.choice([f"fn {a}({b}: u32) -> u32 {{", f"    let {a} = {b} + {n};", f"def {a}({b}):",
                                   f"    return {a}({b}, {n})", f"import {a}", f"use {a}::{b};", f"// {self.words(2, 6)}",
                                   f"# {self.words(2, 6)}", f"{a} = {n}", f'{a} = "{self.words(1, 3)}"', "}",
                                   f"    if {a} > {n} {{", f"struct {a.capitalize()};", f"print({a})", f"[{a}]", f"- {self.words(2, 5)}"]))
        return "\n".join(out)
