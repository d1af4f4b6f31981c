// The camera: a picture of what it sees.

import { button, fill, h, problem } from "./dom.js";

const REASONS = {
  NotAllowedError: "The browser did not allow the camera. Allow it for this page in the browser's settings, then try again.",
  NotFoundError: "There is no camera. Connect one, then try again, or choose a picture.",
  NotReadableError: "Another program uses the camera. Close that program, then try again.",
};

/**
 * Show what the camera sees, until Stop is pressed or the view is left.
 * @param {HTMLElement} place
 * @param {AbortSignal} signal
 * @param {(file: File) => void} onPicture
 */
export async function openCamera(place, signal, onPicture) {
  try {
    if (!navigator.mediaDevices) throw new Error("Browsers give the camera only to pages of this machine or over TLS. Open the page at an https address.");
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const stop = () => {
      for (const track of stream.getTracks()) track.stop();
      place.replaceChildren();
    };
    signal.addEventListener("abort", stop);
    if (signal.aborted) return stop();
    const video = h("video", { playsinline: true, "aria-label": "What the camera sees" });
    video.srcObject = stream;
    const take = button("Take the picture", () => {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d")?.drawImage(video, 0, 0);
      canvas.toBlob((blob) => blob && onPicture(new File([blob], "camera.jpg", { type: blob.type })), "image/jpeg", 0.92);
    }, { class: "main" });
    fill(place, video, h("p", { class: "row" }, take, button("Stop", stop)));
    await video.play();
    take.focus();
  } catch (error) {
    const name = /** @type {keyof typeof REASONS} */ (error instanceof Error ? error.name : "");
    if (!signal.aborted) fill(place, problem(REASONS[name] ?? error));
  }
}
