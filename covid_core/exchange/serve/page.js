// validatorUrl: Swagger UI would send the description to a validator of others.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
