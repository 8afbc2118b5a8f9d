"""A careful user's own server, run in an environment of its own: ``python fastapi_server.py FOLDER PORT``.

FastAPI and pydantic, three look-ups by primary key in SQLite, one run of the graph, and an answer with the features.
"""

import sqlite3
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

FOLDER = Path(sys.argv[1])
GROUPS = ("weather", "carrier_delays", "airport_delays")

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession((FOLDER / "model.onnx").read_bytes(), options)
reads = [
    sqlite3.connect(FOLDER / f"{group}.sqlite", isolation_level=None, check_same_thread=False).cursor()
    for group in GROUPS
]


class Request(BaseModel):
    flight_id: int
    distance: float
    seats: float
    weather_key: str
    carrier_delays_key: str
    airport_delays_key: str


class Answer(BaseModel):
    value: float
    features: dict[str, float]


@app.post("/predict")
async def predict(request: Request) -> Answer:
    features = {"distance": request.distance, "seats": request.seats}
    keys = (request.weather_key, request.carrier_delays_key, request.airport_delays_key)
    for group, read, key in zip(GROUPS, reads, keys, strict=True):
        (blob,) = read.execute("SELECT blob FROM rows WHERE key = ?", (key,)).fetchone()
        features |= {f"{group}_{i}": value for i, value in enumerate(np.frombuffer(blob, np.float32).tolist())}
    dense = np.array([list(features.values())], dtype=np.float32)
    return Answer(value=float(session.run(None, {"numbers": dense})[0][0]), features=features)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
