//! Fixed texts of the layout: protocol data of the model, verbatim from the encoder published with
//! it (MIT).

/// Before the tool schemas.
pub(super) const TOOLS_HEAD: &str = "## Tools\n\n\
You have access to a set of tools to help answer the user's question. \
You can invoke tools by writing a \"<｜DSML｜tool_calls>\" block like the following:\n\n\
<｜DSML｜tool_calls>\n\
<｜DSML｜invoke name=\"$TOOL_NAME\">\n\
<｜DSML｜parameter name=\"$PARAMETER_NAME\" string=\"true|false\">\
$PARAMETER_VALUE</｜DSML｜parameter>\n\
...\n\
</｜DSML｜invoke>\n\
<｜DSML｜invoke name=\"$TOOL_NAME2\">\n\
...\n\
</｜DSML｜invoke>\n\
</｜DSML｜tool_calls>\n\n\
String parameters should be specified as is and set `string=\"true\"`. \
For all other types (numbers, booleans, arrays, objects), pass the value in JSON format \
and set `string=\"false\"`.\n\n\
If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning \
inside <think>...</think> BEFORE any tool calls or final response.\n\n\
Otherwise, output directly after </think> with tool calls or final response.\n\n\
### Available Tool Schemas\n\n";

/// After the tool schemas.
pub(super) const TOOLS_TAIL: &str = "\n\n\
You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n";

/// Before the schema of the reply.
pub(super) const RESPONSE_FORMAT_HEAD: &str = "## Response Format:\n\n\
You MUST strictly adhere to the following schema to reply:\n";
