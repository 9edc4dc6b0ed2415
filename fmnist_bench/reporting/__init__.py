"""What a report says and shows: counted in `findings`, laid out in `tables` and `draw`, written in `render`."""
