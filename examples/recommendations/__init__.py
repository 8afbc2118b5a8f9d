"""The films of the week for each user: lists that are made on Thursdays and looked up by an app."""
