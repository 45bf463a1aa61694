"""Tools of the training data: what they are called, how people ask for them, what they answer.

A concept is one thing a tool can do. `make` gives a `Tool`: a schema under random names, and requests for it.
"""
import json

from words import CITIES, LANGUAGES, NOUNS, PARAMS, PEOPLE, VERBS

# name of the value in templates -> (possible parameter names, type, description, how to draw one)
P = {
    "path": (["path", "file", "file_path", "filename", "filePath", "target_file", "location", "filepath"], "string", "Path of the file", lambda v: v.path()),
    "dir": (["path", "directory", "dir", "folder", "dir_path", "root", "dirPath", "directory_path"], "string", "Path of the directory", lambda v: v.directory()),
    "content": (["content", "text", "contents", "data", "body", "new_content", "fileText", "payload"], "string", "Text to write", lambda v: v.phrase(2, 7)),
    "pattern": (["pattern", "query", "regex", "needle", "search", "text", "term", "expression"], "string", "What to search for", lambda v: v.rng.choice([v.nonsense(1, 3), v.phrase(1, 3), v.nonsense() + "_" + v.nonsense(), v.nonsense() + "("])),
    "command": (["command", "cmd", "script", "command_line", "shell_command", "line", "commandLine", "input"], "string", "Command to run", lambda v: v.rng.choice(["ls -la", "cargo test", "git status", "make", "cargo build --release", "python3 " + v.path(), "cat " + v.path(), "grep -rn " + v.nonsense() + " " + v.directory(), "wc -l " + v.path(), v.nonsense() + " --" + v.nonsense() + " " + str(v.integer()), "npm run " + v.nonsense()])),
    "source": (["source", "from", "src", "old_path", "source_path", "origin", "from_path", "oldPath"], "string", "Where it is now", lambda v: v.path()),
    "target": (["destination", "to", "dst", "new_path", "target", "dest", "to_path", "newPath"], "string", "Where it shall be", lambda v: v.path()),
    "old": (["old_string", "old", "old_text", "find", "search", "oldText", "before", "old_str"], "string", "Text to replace", lambda v: v.rng.choice([v.phrase(1, 3), v.nonsense(1, 2) + " = " + str(v.integer()), v.nonsense(2, 3)])),
    "new": (["new_string", "new", "new_text", "replace", "replacement", "newText", "after", "new_str"], "string", "Text to put in its place", lambda v: v.rng.choice([v.phrase(1, 3), v.nonsense(1, 2) + " = " + str(v.integer()), v.nonsense(2, 3)])),
    "city": (["city", "location", "place", "town", "city_name", "where", "cityName", "destination"], "string", "Name of the city", lambda v: v.rng.choice(CITIES) if v.rng.random() < 0.6 else v.nonsense(2, 3).capitalize()),
    "url": (["url", "link", "address", "uri", "page_url", "href", "target_url", "webpage"], "string", "Address of the page", lambda v: v.url()),
    "query": (["query", "q", "search_query", "terms", "keywords", "question", "searchTerm", "text"], "string", "What to look for", lambda v: v.phrase(1, 5)),
    "expression": (["expression", "formula", "input", "equation", "calc", "expr", "math", "calculation"], "string", "Expression to compute", lambda v: f"{v.integer()} {v.rng.choice('+-*/')} {v.integer()}"),
    "to": (["to", "recipient", "receiver", "user", "address", "contact", "send_to", "recipientName"], "string", "Who shall get it", lambda v: v.rng.choice([v.email(), v.rng.choice(PEOPLE), v.nonsense(2, 2).capitalize()])),
    "message": (["message", "text", "body", "content", "msg", "note", "message_text", "messageBody"], "string", "Text of the message", lambda v: v.phrase(2, 8)),
    "title": (["title", "name", "subject", "summary", "event", "event_name", "label", "eventTitle"], "string", "Title", lambda v: v.phrase(1, 4)),
    "date": (["date", "day", "when", "on", "event_date", "due", "due_date", "startDate"], "string", "Date as YYYY-MM-DD", lambda v: v.date()),
    "time": (["time", "start", "at", "hour", "start_time", "clock", "begin", "startTime"], "string", "Time as HH:MM", lambda v: v.clock()),
    "task": (["task", "item", "todo", "title", "text", "description", "what", "taskName"], "string", "What is to be done", lambda v: v.phrase(2, 5)),
    "language": (["language", "target_language", "lang", "to", "into", "target", "output_language", "targetLang"], "string", "Language to translate into", lambda v: v.rng.choice(LANGUAGES)),
    "amount": (["amount", "value", "sum", "quantity", "number", "total", "amt", "amountValue"], "number", "How much", lambda v: v.rng.choice([v.integer(), v.decimal()])),
    "currency": (["from", "source", "from_currency", "base", "source_currency", "fromCurrency", "have", "origin"], "string", "Currency code to convert from", lambda v: v.rng.choice("USD EUR GBP JPY CHF SEK NOK PLN INR BRL CAD AUD".split())),
    "currency2": (["to", "target", "to_currency", "quote", "target_currency", "toCurrency", "want", "into"], "string", "Currency code to convert into", lambda v: v.rng.choice("USD EUR GBP JPY CHF SEK NOK PLN INR BRL CAD AUD".split())),
    "room": (["room", "place", "zone", "area", "location", "where", "room_name", "roomName"], "string", "Which room", lambda v: v.rng.choice(["kitchen", "hall", "bedroom", "office", "garage", "cellar", "bathroom", "studio", "attic", "porch", v.nonsense(2, 2)])),
    "level": (["brightness", "level", "percent", "intensity", "value", "dim", "power", "brightnessLevel"], "integer", "Brightness in percent", lambda v: v.rng.randint(0, 100)),
    "sql": (["sql", "query", "statement", "q", "sql_query", "select", "sqlText", "command"], "string", "SQL statement", lambda v: f"SELECT {v.nonsense()} FROM {v.nonsense()}" + v.rng.choice(["", f" WHERE {v.nonsense()} = {v.integer()}", f" LIMIT {v.integer()}"])),
    "id": (["id", "user_id", "identifier", "number", "key", "record_id", "userId", "uid"], "integer", "Number of the record", lambda v: v.integer()),
    "count": (["limit", "count", "max_results", "n", "top", "num_results", "maxResults", "size"], "integer", "Most results to give", lambda v: v.rng.randint(1, 50)),
    "lines": (["limit", "lines", "max_lines", "count", "line_count", "n", "maxLines", "num_lines"], "integer", "Most lines to read", lambda v: v.rng.randint(1, 500)),
    "song": (["song", "track", "title", "name", "track_name", "music", "songTitle", "query"], "string", "Name of the song", lambda v: v.phrase(1, 4)),
}

# Other ways to describe the same values.
MORE = {
    "path": ["The file", "Which file", "File path, absolute or relative", "Name of the file with its folder"],
    "dir": ["The folder", "Which directory", "Folder to look in", "Directory path"],
    "content": ["What to write", "The new contents of the file", "Text that the file shall hold"],
    "pattern": ["Text or regular expression to find", "The pattern", "String to look for"],
    "command": ["The shell command", "What to execute", "Command line"],
    "source": ["Old path", "File to move", "Path before the move"],
    "target": ["New path", "Where to move it", "Path after the move"],
    "old": ["Exact text that is there now", "The string to be replaced", "What to change"],
    "new": ["The new text", "What it is replaced with", "Replacement"],
    "city": ["The city", "Which city", "City name, such as Oslo"],
    "url": ["The link", "URL to fetch", "Web address"],
    "query": ["Words to search for", "The search query", "Search terms"],
    "expression": ["The arithmetic", "What to calculate", "Formula"],
    "to": ["The recipient", "Name or address of the receiver", "To whom it goes"],
    "message": ["The text", "What to say", "Words of the message"],
    "title": ["What it is called", "Name of the event", "Subject"],
    "date": ["The day", "Which day, YYYY-MM-DD", "Day in ISO form"],
    "time": ["The hour, HH:MM", "When it starts", "Time of day"],
    "task": ["The task", "Thing to do", "Description of the task"],
    "language": ["The language", "Target language", "Which language"],
    "amount": ["The sum", "Amount of money", "Number to convert"],
    "currency": ["Currency you have", "The source currency", "Convert from this currency"],
    "currency2": ["Currency you want", "The target currency", "Convert to this currency"],
    "room": ["The room", "Room of the lamp", "Name of the room"],
    "level": ["How bright, 0 to 100", "The brightness", "Percent of full light"],
    "sql": ["The SQL query", "Statement to execute", "SQL text"],
    "id": ["The number", "Identifier of the user", "Which record"],
    "count": ["How many results", "Maximum number of results", "Number of hits"],
    "lines": ["How many lines", "Maximum number of lines", "Number of lines"],
    "song": ["The song", "What to play", "Title of the track"],
}
# Names of parameters that only held-out cases use: the last two of each value.
HELD = {name for names, *_ in P.values() for name in names[6:]}

# verbs, nouns, descriptions, required values, [(optional value, phrase)], requests, result kind
CONCEPTS = {
    "read": ("read open view show cat get load", "file source text document contents", ["Read a file.", "Show the contents of a file.", "Returns the text of a file", "Reads a file from disk and returns what it holds."], ["path"], [("lines", ", at most {lines} lines"), ("lines", " but only {lines} lines")],
             ["show me {path}", "read {path}", "open {path}", "what is in {path}?", "print {path}", "can you show the contents of {path}", "look at {path}", "let me see {path}", "what does {path} say", "cat {path}", "display {path}", "please read the file {path}", "I want to see {path}"], "text"),
    "write": ("write save create put store", "file text document contents", ["Write text to a file.", "Create or overwrite a file.", "Saves text in a file on disk."], ["path", "content"], [],
              ["write {content} to {path}", "create {path} with the text {content}", "save {content} in {path}", "put {content} into {path}", "make a file {path} that says {content}", "store {content} as {path}", "write to {path}: {content}"], "done"),
    "list": ("list ls show get browse", "dir directory files folder entries", ["List a directory.", "Show the files in a directory.", "Lists what is in a folder"], ["dir"], [],
             ["list {dir}", "what files are in {dir}?", "show the files in {dir}", "list the directory {dir}", "what is inside the folder {dir}", "ls {dir}", "which files does {dir} have"], "list"),
    "grep": ("grep search find scan", "files code text in_files matches", ["Search files for a pattern.", "Find text in files.", "Searches the code for a pattern"], ["pattern"], [("dir", " in {dir}"), ("dir", " under {dir}")],
             ["search for {pattern}", "find {pattern}", "grep for {pattern}", "where is {pattern} used", "look for {pattern}", "find all uses of {pattern}", "search the code for {pattern}"], "list"),
    "run": ("run execute exec shell bash", "command shell terminal cmd bash", ["Run a shell command.", "Execute a command in the shell.", "Runs a command line and returns its output"], ["command"], [],
            ["run {command}", "execute {command}", "please run {command}", "run the command {command}", "in the shell, run {command}", "can you execute {command}"], "text"),
    "delete": ("delete remove rm unlink erase", "file path document", ["Delete a file.", "Remove a file from disk."], ["path"], [],
               ["delete {path}", "remove {path}", "get rid of {path}", "please delete the file {path}", "erase {path}", "rm {path}"], "done"),
    "move": ("move rename mv relocate", "file path document", ["Move or rename a file.", "Rename a file."], ["source", "target"], [],
             ["move {source} to {target}", "rename {source} to {target}", "mv {source} {target}", "please move the file {source} to {target}", "{source} should be called {target}"], "done"),
    "edit": ("edit replace patch change str_replace", "file text in_file string", ["Replace text in a file.", "Edit a file by exact replacement."], ["path", "old", "new"], [],
             ["in {path} replace {old} with {new}", "replace {old} by {new} in {path}", "change {old} to {new} in {path}", "edit {path}: {old} becomes {new}", "{path} says {old}, make it {new}"], "done"),
    "weather": ("get check fetch lookup current", "weather forecast temperature climate", ["Weather of a city.", "Get the current weather.", "Gives the forecast for a city"], ["city"], [("date", " on {date}")],
                ["weather in {city}", "what is the weather in {city}?", "how is the weather in {city}", "is it raining in {city}", "how warm is it in {city}", "forecast for {city}", "do I need a coat in {city}"], "weather"),
    "fetch": ("fetch get download open visit", "url page web_page webpage site", ["Fetch a web page.", "Download the page at an address.", "Opens a link and returns its text"], ["url"], [],
              ["fetch {url}", "open {url}", "what is on {url}", "download {url}", "read the page {url}", "visit {url}", "summarize {url}"], "text"),
    "web": ("search query lookup google find", "web internet online engine", ["Search the web.", "Find pages on the internet.", "Looks something up on the web"], ["query"], [("count", ", {count} results"), ("count", " and give me {count} results")],
            ["search the web for {query}", "look up {query}", "google {query}", "search online for {query}", "find pages about {query}", "what does the internet say about {query}"], "list"),
    "calc": ("calculate compute calc evaluate solve", "expression math calculator arithmetic", ["Compute an expression.", "A calculator.", "Evaluates arithmetic"], ["expression"], [],
             ["what is {expression}?", "compute {expression}", "calculate {expression}", "how much is {expression}", "evaluate {expression}", "use the calculator for {expression}"], "number"),
    "send": ("send post deliver write", "message mail email note text", ["Send a message.", "Send an email to somebody.", "Delivers a note"], ["to", "message"], [],
             ["send {to} the message {message}", "tell {to} that {message}", "send {message} to {to}", "message {to}: {message}", "write to {to}: {message}", "let {to} know: {message}"], "done"),
    "event": ("create add schedule book make", "event meeting appointment calendar_entry", ["Add an event to the calendar.", "Schedule a meeting."], ["title", "date"], [("time", " at {time}")],
              ["schedule {title} on {date}", "add an event {title} for {date}", "put {title} in my calendar on {date}", "book {title} on {date}", "on {date} I have {title}, add it to the calendar, please"], "done"),
    "todo": ("add create new append", "todo task item reminder", ["Add a task to the list.", "Remember something to do."], ["task"], [("date", " until {date}"), ("date", ", due {date}")],
             ["remind me to {task}", "add {task} to my list", "add a task: {task}", "new todo: {task}", "put {task} on my todo list"], "done"),
    "translate": ("translate convert render", "text phrase language words", ["Translate a text.", "Translates words into another language"], ["message", "language"], [],
                  ["translate {message} into {language}", "how do you say {message} in {language}?", "what is {message} in {language}", "into {language}, please: {message}"], "quote"),
    "convert": ("convert exchange change", "currency money amount rate", ["Convert money.", "Exchange one currency for another."], ["amount", "currency", "currency2"], [],
                ["convert {amount} {currency} to {currency2}", "how much is {amount} {currency} in {currency2}?", "change {amount} {currency} into {currency2}", "I have {amount} {currency}, how many {currency2} is that"], "number"),
    "clock": ("get current tell check", "time clock local_time hour", ["Current time in a city.", "Tells what time it is somewhere"], ["city"], [],
              ["what time is it in {city}?", "time in {city}", "tell me the time in {city}", "how late is it in {city}"], "clock"),
    "light": ("set dim adjust control", "light lamp lights brightness", ["Set the lights of a room.", "Dim the lamp in a room."], ["room", "level"], [],
              ["set the {room} light to {level}", "dim the light in the {room} to {level} percent", "{room} light at {level} percent", "make the {room} {level} percent bright"], "done"),
    "sql": ("run execute query select", "sql query database statement", ["Run an SQL statement.", "Query the database."], ["sql"], [],
            ["run {sql}", "execute {sql} on the database", "query the database: {sql}", "what does {sql} give"], "list"),
    "user": ("get find lookup load fetch", "user customer person account record", ["Look up a user.", "Find a customer by number."], ["id"], [],
             ["who is user {id}?", "look up customer {id}", "find user {id}", "show me the account {id}", "load user number {id}"], "record"),
    "song": ("play start queue", "song music track audio", ["Play a song.", "Start music."], ["song"], [],
             ["play {song}", "put on {song}", "I want to hear {song}", "start the song {song}"], "done"),
}


def case(words, style):
    """Words joined in one of the ways in which tools are named."""
    if style == "camel":
        return words[0] + "".join(word.capitalize() for word in words[1:])
    if style == "pascal":
        return "".join(word.capitalize() for word in words)
    return {"snake": "_", "kebab": "-", "dot": ".", "joined": ""}[style].join(words)


class Tool:
    """A schema, and how to ask for it."""

    def __init__(self, v, concept=None):
        self.v, self.concept = v, concept
        self.keys = {}
        # Does the last request begin with a value?
        self.fixed = False
        if concept:
            self._known()
        else:
            self._generic()

    def _name(self, verbs, nouns):
        v, rng = self.v, self.v.rng
        def make():
            words = [rng.choice(verbs)]
            if rng.random() < 0.8:
                words += rng.choice(nouns).split("_")
            if rng.random() < 0.1:
                words.reverse()
            if not v.held and rng.random() < 0.3:
                # A name that says nothing: only the description tells what the tool is for.
                words = self._compound()
            if rng.random() < 0.12:
                words.insert(0, v.nonsense(1, 2))
            elif rng.random() < 0.06:
                words.append(rng.choice(["tool", "v2", "now", "x", v.nonsense(1, 1)]))
            return case(words, rng.choice(["snake"] * 5 + ["camel", "camel", "pascal", "kebab", "dot"]))
        name = v.free(make)
        return f"mcp__{v.nonsense(1, 2)}__{name}" if rng.random() < 0.05 and "." not in name else name

    def _compound(self):
        """Words for a name that has nothing to do with what it names."""
        v, rng = self.v, self.v.rng
        pools = [PARAMS, PARAMS, NOUNS, VERBS]
        return [v.pick(rng.choice(pools)) if rng.random() < 0.7 else v.nonsense(1, 2) for _ in range(rng.choice([1, 2, 2, 2, 3]))]

    def _key(self):
        """A parameter's name of that kind."""
        rng = self.v.rng
        while True:
            # Many go on where a common name ends; some are the common name of something else.
            roll, common = rng.random(), rng.choice(rng.choice(list(P.values()))[0][:6])
            lead = [common] if roll < 0.4 else []
            key = self.v.free(lambda: case(lead + self._compound()[:2], rng.choice(["snake", "snake", "camel", "camel", "joined"])))
            key = common if roll > 0.8 else key
            if key not in HELD:
                return key

    def _schema(self, properties, required):
        v, rng = self.v, self.v.rng
        schema = {"type": "object", "properties": properties, "required": required}
        if rng.random() < 0.2:
            schema["additionalProperties"] = False
        function = {"name": self.name, "description": self.description, "parameters": schema}
        if rng.random() < 0.1:
            function = {"description": self.description, "name": self.name, "parameters": schema}
        if rng.random() < 0.08:
            function["strict"] = rng.random() < 0.5
        self.schema = {"type": "function", "function": function}

    def _known(self):
        v, rng = self.v, self.v.rng
        verbs, nouns, texts, required, optional, requests, self.result = CONCEPTS[self.concept]
        self.name = self._name(verbs.split(), nouns.split())
        self.description = rng.choice(texts)
        if rng.random() < 0.25:
            self.description += " " + v.sentence()
        self.required, self.optional, self.requests = required, optional, requests
        values = list(required)
        if optional and rng.random() < 0.7:
            values.append(optional[0][0])
            self.has_optional = True
        else:
            self.has_optional = False
        if rng.random() < 0.3:
            rng.shuffle(values)
        properties = {}
        for value in values:
            names, kind, text, _ = P[value]
            free = [name for name in names if name not in properties]
            # The last two names of each value are for the held-out cases.
            part = [name for name in free if (names.index(name) >= 6) == v.held] or free
            key, plain = rng.choice(part), True
            if not v.held and rng.random() < 0.6:
                key, plain = self._key(), False
                if key in properties:
                    key = key + "_" + v.nonsense(1, 1)
            self.keys[value] = key
            properties[key] = {"type": kind}
            # Nothing but the description can say what a name never seen before stands for.
            if v.held or not plain or rng.random() < 0.7:
                properties[key]["description"] = text if rng.random() < 0.5 else rng.choice(MORE[value])
        self.order = values
        self._schema(properties, [self.keys[value] for value in values if value in required])

    def _generic(self):
        v, rng = self.v, self.v.rng
        own = rng.random() < 0.4
        verb = v.nonsense(1, 2) if own else rng.choice(VERBS)
        noun = v.nonsense(1, 3) if own or rng.random() < 0.3 else rng.choice(NOUNS)
        self.verb, self.noun = verb, noun
        self.name = self._name([verb], [noun])
        self.description = rng.choice([f"{verb.capitalize()} a {noun}.", f"{verb.capitalize()}s the {noun}", f"Use it to {verb} the {noun}.", f"{verb.capitalize()} one {noun}. {v.sentence()}"])
        self.result = rng.choice(["done", "record", "list", "number", "text", "error"])
        properties, self.order, self.kinds = {}, [], {}
        for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 2, 3, 3, 4])):
            key = v.pick(PARAMS) if rng.random() < 0.7 else v.free(lambda: v.nonsense(1, 2))
            if not v.held and rng.random() < 0.2:
                key = self._key()
            elif rng.random() < 0.2:
                key += "_" + rng.choice(["id", "name", "value", "code", v.nonsense(1, 1)])
            if key in properties:
                continue
            kind = rng.choice(["string"] * 5 + ["integer", "integer", "number", "boolean", "array", "enum"])
            self.kinds[key] = kind
            self.order.append(key)
            properties[key] = {"type": "string" if kind == "enum" else kind}
            if kind == "enum":
                properties[key]["enum"] = list(dict.fromkeys(v.nonsense(1, 2) for _ in range(rng.randint(2, 4))))
            if kind == "array":
                properties[key]["items"] = {"type": rng.choice(["string", "string", "integer"])}
            if rng.random() < 0.6:
                properties[key]["description"] = rng.choice([f"The {key} of the {noun}", v.phrase(2, 5), f"{key.capitalize()} to use"])
        self.properties = properties
        self._schema(properties, [key for key in self.order if rng.random() < 0.8])

    def _quoted(self, text, bare):
        """A text value as it stands in a request."""
        rng, roll = self.v.rng, self.v.rng.random()
        if bare and roll < 0.75:
            return text
        return f'"{text}"' if roll < 0.9 else (f"`{text}`" if roll < 0.96 else f"'{text}'")

    def ask(self):
        """A request (without its politeness) and the arguments it asks for."""
        return self._ask_known() if self.concept else self._ask_generic()

    def _ask_known(self):
        v, rng = self.v, self.v.rng
        template, chosen = rng.choice(self.requests), list(self.required)
        self.fixed = template.startswith("{")
        if self.has_optional and rng.random() < 0.5:
            key, phrase = rng.choice(self.optional)
            template = template.rstrip("?") + phrase
            chosen.append(key)
        values, shown = {}, {}
        for value in chosen:
            item = P[value][3](v)
            values[value] = item
            one_word = isinstance(item, str) and " " not in item
            last = template.endswith("{" + value + "}")
            shown[value] = self._quoted(item, one_word or last and len(chosen) < 3) if isinstance(item, str) else str(item)
        arguments = {self.keys[value]: values[value] for value in self.order if value in values}
        return template.format(**shown), arguments

    def _value(self, key):
        v, rng, kind = self.v, self.v.rng, self.kinds[key]
        if kind == "integer":
            item = v.integer()
            return item, str(item)
        if kind == "number":
            item = v.decimal()
            return item, str(item)
        if kind == "boolean":
            item = rng.random() < 0.5
            return item, rng.choice([["false", "true"], ["off", "on"], ["no", "yes"]])[item]
        if kind == "enum":
            item = rng.choice(self.properties[key]["enum"])
            return item, self._quoted(item, True)
        if kind == "array":
            if self.properties[key]["items"]["type"] == "integer":
                items = [v.integer() for _ in range(rng.randint(1, 4))]
            else:
                items = [rng.choice([v.nonsense(1, 2), v.identifier()]) for _ in range(rng.randint(1, 4))]
            shown = [str(item) for item in items]
            return items, shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]
        item = rng.choice([v.path, v.identifier, v.identifier, v.word, v.nonsense, v.phrase, v.phrase, v.email, v.url, v.date,
                           lambda: rng.choice(PEOPLE), lambda: rng.choice(CITIES)])()
        return item, self._quoted(item, " " not in item)

    def _ask_generic(self):
        v, rng = self.v, self.v.rng
        required = self.schema["function"]["parameters"]["required"]
        keys = [key for key in self.order if key in required or rng.random() < 0.5]
        arguments, shown = {}, []
        for key in keys:
            item, text = self._value(key)
            arguments[key] = item
            label = key.replace("_", " ") if rng.random() < 0.4 else key
            shown.append(rng.choice([f"{label} {text}", f"{label} {text}", f"{label}: {text}", f"{label}={text}", f"{text} as {label}", f"{label} is {text}", f"{label} should be {text}"]))
        rng.shuffle(shown)
        verb, noun = self.verb, self.noun
        head = rng.choice([f"{verb} the {noun}", f"{verb} a {noun}", f"use {self.name}", f"call {self.name}", f"{verb} {noun}", f"I want to {verb} the {noun}", f"can you {verb} my {noun}", f"{verb} that {noun} for me"])
        if not shown:
            return head, arguments
        listed = ", ".join(shown) if len(shown) < 2 or rng.random() < 0.4 else ", ".join(shown[:-1]) + " and " + shown[-1]
        return head + rng.choice([" with ", ": ", ", ", " using ", " (", " where "]).replace(" (", " with ") + listed, arguments

    def respond(self, arguments):
        """A result of a call, and what to say about it."""
        v, rng, kind = self.v, self.v.rng, self.result
        if rng.random() < 0.06 or kind == "error":
            reason = rng.choice(["not found", "permission denied", "timeout", "no such file", "invalid argument", "busy", v.words(2, 4)])
            return rng.choice([f"Error: {reason}", f"error: {reason}", json.dumps({"error": reason})]), rng.choice([f"That failed: {reason}.", f"The tool reports an error: {reason}."])
        if kind == "text":
            text = rng.choice([v.code, lambda: v.paragraph(1, 3), lambda: "\n".join(v.sentence() for _ in range(rng.randint(1, 4)))])()
            first = text.split("\n")[0].strip()
            if len(text) < 160 and rng.random() < 0.5:
                return text, f"Here it is:\n\n```\n{text}\n```"
            return text, rng.choice([f"It begins with:\n\n```\n{first}\n```", f"The first line is `{first}`."])
        if kind == "done":
            if rng.random() < 0.4:
                number = v.identifier()
                return rng.choice([json.dumps({"status": "ok", "id": number}), f"ok, id {number}", f"created {number}"]), rng.choice([f"Done. The id is {number}.", f"Done: {number}."])
            return rng.choice(["ok", "done", "success", '{"ok": true}', "OK", '{"status": "ok"}']), rng.choice(["Done.", "That is done.", "Done, it worked."])
        if kind == "list":
            items = [rng.choice([v.file, v.identifier, v.path])() for _ in range(rng.randint(1, 5))]
            text = rng.choice(["\n".join(items), json.dumps(items)])
            return text, ("There is one: " + items[0] + "." if len(items) == 1 else "I found these:\n\n" + "\n".join(f"- {item}" for item in items))
        if kind == "number":
            number = rng.choice([v.integer(), v.decimal()])
            return rng.choice([str(number), json.dumps({"result": number})]), rng.choice([f"The result is {number}.", f"It is {number}."])
        if kind == "weather":
            degrees, sky = rng.randint(-20, 40), rng.choice(["rain", "sun", "snow", "clouds", "fog", "wind", "clear sky", "storm"])
            text = rng.choice([json.dumps({"temperature": degrees, "sky": sky}), f"{degrees} degrees, {sky}"])
            return text, rng.choice([f"It is {degrees} degrees with {sky}.", f"{degrees} degrees and {sky}."])
        if kind == "clock":
            time = v.clock()
            return rng.choice([time, json.dumps({"time": time})]), f"It is {time}."
        if kind == "quote":
            text = " ".join(v.nonsense(1, 2) for _ in range(rng.randint(1, 5)))
            return text, rng.choice([f'That is "{text}".', f'"{text}"'])
        fields = {v.nonsense(1, 2) if rng.random() < 0.3 else rng.choice(PARAMS): rng.choice([v.word, v.integer, v.identifier])() for _ in range(rng.randint(1, 4))}
        return json.dumps(fields), "I found:\n\n" + "\n".join(f"- {key}: {value}" for key, value in fields.items())
