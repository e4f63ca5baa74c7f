// The front page: creates a link and shows its short URL and QR code, or says what to change.
document.getElementById("shorten").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const result = document.getElementById("result");
  const headers = { "Content-Type": "application/json" };
  if (form.get("key")) headers.Authorization = `Bearer ${form.get("key")}`;
  try {
    const response = await fetch("/api/v1/links", {
      method: "POST",
      headers,
      body: JSON.stringify({ url: form.get("url") }),
    });
    const body = await response.json();
    if (!response.ok) {
      result.textContent = body.detail;
      return;
    }
    const link = document.createElement("a");
    link.href = link.textContent = body.short_url;
    const picture = document.createElement("img");
    picture.alt = "The short URL as a QR code";
    picture.src = `/api/v1/links/${body.code}/qr`;
    result.replaceChildren(link, document.createElement("br"), picture);
  } catch {
    result.textContent = "The service can't be reached; try again.";
  }
});
