"""Prints what an engine called "echelon" plays; start it with `echelon-engine run --nats embedded`."""

import asyncio
import json

import nats


async def main(url: str = "nats://127.0.0.1:4222") -> None:
    """Print loudness and commitment as they come, and each bar once."""
    async with await nats.connect(url) as connection:
        async for message in (await connection.subscribe("echelon.echelon.*")).messages:
            fields = json.loads(message.data)
            if message.subject.endswith(".state"):
                print(f"{fields['loudness_db']:6.1f} dBFS  commitment {fields['commitment']:.2f}")
            elif message.subject.endswith(".bar"):
                print(
                    f"bar {fields['bar']}: {fields['notes']} notes, tension {fields['dynamics']['tension']['mean']:.2f}"
                )


if __name__ == "__main__":
    asyncio.run(main())
