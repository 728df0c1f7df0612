// The AI SDK over both APIs: `node ai-sdk.mjs URL MODEL ENGINE` prints a line of JSON for each check.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createOpenResponses } from "@ai-sdk/open-responses";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert";
import { z } from "zod";

const [url, name, engine] = process.argv.slice(2);
const given = { baseURL: `${url}/v1`, apiKey: "x" };
const openai = createOpenAI(given);
// Asked of servers other than OpenAI's only when told to.
const told = { ...given, name: "redraft", includeUsage: true, supportsStructuredOutputs: true };
const models = {
  chat: openai.chat(name),
  responses: openai.responses(name),
  compatible: createOpenAICompatible(told)(name),
  "open-responses": createOpenResponses({ ...given, name: "redraft", url: `${url}/v1/responses` })(name),
};
const prompt = "/say one two";

function checkSaid(text) {
  if (engine === "echo") assert.equal(text, "one two");
  else assert.ok(text);
}

const checks = {
  async answers(model) {
    const { text, usage } = await generateText({ model, prompt, maxOutputTokens: 64 });
    checkSaid(text);
    assert.ok(usage.outputTokens > 0);
  },
  async streams(model) {
    const { textStream, usage } = streamText({ model, prompt, maxOutputTokens: 64 });
    let text = "";
    for await (const part of textStream) text += part;
    checkSaid(text);
    assert.ok((await usage).inputTokens > 0);
  },
  async calls_a_tool(model) {
    const asked = [];
    const weather = tool({
      description: "The weather of a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        asked.push(city);
        return "18 degrees";
      },
    });
    const { text } = await generateText({
      model,
      prompt: "Rome?",
      tools: { weather },
      maxOutputTokens: 256,
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber ? "none" : "required" }),
      stopWhen: stepCountIs(2),
    });
    assert.equal(asked.length, 1);
    if (engine === "echo") assert.match(text, /18 degrees/);
  },
  async is_held_to_a_schema(model) {
    const person = z.object({ name: z.string(), age: z.number().int() });
    const { output } = await generateText({
      model,
      prompt: "Invent a person.",
      output: Output.object({ schema: person }),
      maxOutputTokens: 256,
    });
    person.parse(output);
  },
};

for (const [check, run] of Object.entries(checks)) {
  for (const [over, model] of Object.entries(models)) {
    let broke = null;
    try {
      await run(model);
    } catch (error) {
      console.error(error);
      broke = `${error.name}: ${String(error.message).slice(0, 300)}`;
    }
    console.log(JSON.stringify({ check: `ai_sdk_${check}_over_${over}`, broke }));
  }
}
